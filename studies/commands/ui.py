"""`mergetuna ui`: MLflow's pages of a study, on this machine only."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import typer

_HOST = "127.0.0.1"
_START_S, _END_S = 180.0, 10.0


def ui(
    folder: Annotated[Path, typer.Argument(help="The study's folder.")],
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 chooses a free one.", min=0, max=65535)
    ] = 5000,
    *,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Show the study's trials in MLflow's UI until Ctrl-C."""
    import webbrowser

    from studies.console import say, warn

    port, runs = _free_port(port), folder.resolve().parent
    route = _route(folder)
    with suppress(KeyboardInterrupt), _server(runs, port) as (child, address):
        page = f"{address}/{route}"
        say(f"trials: {page}")
        say(f"charts: {page}&compareRunsMode=CHART")
        warn("Ctrl-C ends it.")
        if open_browser:
            webbrowser.open(page)
        if child.wait():
            warn(f"MLflow's server ended with code {child.returncode}.")
            raise typer.Exit(1)


def _route(folder: Path) -> str:
    """The route of the study's runs in the pages of its runs folder's store.

    Raises:
        UserError: the folder is no study's, or its trials are not in the local store.
    """
    import os

    from merge_ops.errors import UserError
    from studies.journal import read_trials
    from studies.secrets import without_secrets
    from studies.tracking_store import STORE, ledger_tag, study_page

    ledger = ledger_tag(read_trials(folder))
    if ledger is None:
        raise UserError(f"{folder}: the study has no finished trial to show yet.")
    store = folder.resolve().parent / STORE
    try:
        found = study_page(f"sqlite:///{store}", ledger) if store.is_file() else None
    except Exception as error:  # MLflow's own, SQLAlchemy's: another version, a locked file
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{store}: MLflow cannot read it ({first}).") from error
    if found is None:
        elsewhere = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", ""))
        place = f"MLFLOW_TRACKING_URI is {elsewhere}; or see" if elsewhere else "see"
        raise UserError(
            f"{store}: holds none of the trials of {folder}. Trials that are tracked elsewhere "
            f"({place} `tracking.uri` in the study file) are shown there. To have them here: "
            f"mergetuna sync {folder} --uri sqlite:///{store}"
        )
    return found


def _free_port(port: int) -> int:
    """The port itself, or any free one for 0.

    Raises:
        UserError: something listens on it already.
    """
    import socket

    from merge_ops.errors import UserError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {_HOST} cannot be used ({error.strerror}); choose another by "
                "--port, where 0 means any free one."
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _server(runs: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """MLflow's server on a runs folder's store, once it answers; ended with the block."""
    import signal
    import sys
    import tempfile

    def end(*_: object) -> None:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            _command(runs, port),
            cwd=runs,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the group
        )
        try:
            _await_answer(child, port, output)
            yield child, f"http://{_HOST}:{port}"
        finally:
            _end(child)


def _command(runs: Path, port: int) -> list[str]:
    import sys

    from studies.tracking_store import ARTIFACTS, STORE

    options = {
        "--backend-store-uri": f"sqlite:///{runs / STORE}",
        "--artifacts-destination": (runs / ARTIFACTS).as_uri(),
        "--host": _HOST,
        "--port": str(port),
        "--workers": "1",
    }
    pairs = [text for pair in options.items() for text in pair]
    return [sys.executable, "-m", "mlflow", "server", *pairs]


def _environment() -> dict[str, str]:
    """The server's: its store comes from the command line alone, and it starts no helpers."""
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "_MLFLOW_"))}
    return {
        **kept,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _await_answer(child: subprocess.Popen[bytes], port: int, output: IO[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        UserError: it ended, or it does not answer within three minutes.
    """
    import time
    from http import HTTPStatus
    from http.client import HTTPConnection, HTTPException

    from merge_ops.errors import UserError

    begin = time.monotonic()
    while child.poll() is None and time.monotonic() - begin < _START_S:
        try:
            with closing(HTTPConnection(_HOST, port, timeout=5)) as connection:
                connection.request("GET", "/health")
                if connection.getresponse().status == HTTPStatus.OK:
                    return
        except (HTTPException, OSError):
            pass
        time.sleep(0.3)
    output.seek(0)
    last = output.read().decode(errors="replace").strip().splitlines()[-3:]
    raise UserError("MLflow's server did not start; the last it said:\n" + "\n".join(last))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server and the workers that it started."""
    import os
    import signal

    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_END_S)
