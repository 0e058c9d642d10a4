"""The tracker where its store is dead, hangs or comes back: the study never waits for it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studies.tracking import Mirror
from studies.tracking_store import open_client
from tests.tracked import SUMMARY, InThread, Store, ledger_of


@contextmanager
def refusing() -> Iterator[str]:
    """The address of a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield f"http://user:secret@127.0.0.1:{port}"


@contextmanager
def hanging() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in taken:
        connection.close()


@pytest.mark.parametrize(
    ("server", "reason"), [(refusing, "Connection refused"), (hanging, "too slow")]
)
def test_a_dead_server_neither_delays_nor_fails_the_study(
    server: Callable[[], Any], reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    open_client("http://127.0.0.1:9")  # nothing is sent; MLflow's import is not what is timed here
    with server() as uri:
        ledger = ledger_of(tmp_path, 3)
        mirror = Mirror(uri, "dead", lambda: ledger.trials, {}, host=InThread())
        mirror.start()
        begin = time.perf_counter()
        for _ in range(1000):
            mirror.notify()
        assert time.perf_counter() - begin < 0.5
        begin = time.perf_counter()
        status = mirror.finish(3.0, SUMMARY)
        assert time.perf_counter() - begin < 4.0
    assert not status.complete
    assert (status.mirrored, status.finished) == (0, 3)
    assert "0 of 3 trials are mirrored to http://127.0.0.1:" in str(status)
    assert reason in str(status)
    assert "secret" not in str(status)
    assert capfd.readouterr() == ("", "")


def test_what_was_missed_is_filled_in_when_the_store_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path)
    ledger = ledger_of(tmp_path / "back", 2)
    true, calls = MlflowClient.log_batch, []

    def fails_twice(*args: Any, **named: Any) -> None:
        calls.append(args)
        if len(calls) <= 2:
            raise ConnectionError("gone\nfor now")
        true(*args, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", fails_twice)
    mirror = Mirror(store.uri, "back", lambda: ledger.trials, {}, host=InThread())
    mirror.start()
    deadline = time.monotonic() + 60.0
    while mirror.status().mirrored < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    status = mirror.finish(60.0)
    assert status.complete
    assert (status.errors, status.last_error) == (2, "ConnectionError: gone")
    assert sorted(store.runs("back")) == ["trial-0000", "trial-0001"]


def test_the_end_of_a_study_does_not_wait_long_for_a_store_that_failed_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    ledger = ledger_of(tmp_path, 1)
    with hanging() as uri:
        mirror = Mirror(uri, "dead", lambda: ledger.trials, {}, host=InThread())
        mirror.start()
        deadline = time.monotonic() + 60.0
        while not mirror.status().errors and time.monotonic() < deadline:
            time.sleep(0.05)
        begin = time.perf_counter()
        status = mirror.finish(60.0)
        assert time.perf_counter() - begin < 4.5
    assert (status.errors > 0, status.complete) == (True, False)
