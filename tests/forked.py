"""A study in a process forked from this warm one, to be stopped or killed at any instant."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Forked:
    """A running study.

    Attributes:
        pid: of its process.
        told: end of a pipe that gets one byte for every trial that the ledger took.
        said: file of its standard error.
    """

    pid: int
    told: int
    said: Path

    def wait(self, timeout: float = 120.0) -> int:
        """Exit code, or minus the signal that ended it."""
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(self.said.read_text())

    def count(self) -> int:
        """Trials told until its end; call it once, after `wait`."""
        data = b""
        while part := os.read(self.told, 4096):
            data += part
        os.close(self.told)
        return len(data)

    def wait_for_trials(self, count: int) -> None:
        """Return when that many trials have been told."""
        for _ in range(count):
            assert os.read(self.told, 1), self.said.read_text()


def start(path: Path, *options: str) -> Forked:
    """Run `mergetuna run PATH OPTIONS` in a fork; this process must have imported everything."""
    from optuna.trial import FrozenTrial

    from studies.ledger import Ledger, Outcome

    reader, writer = os.pipe()
    said = path.with_suffix(".err")
    said.touch()  # the fork may be killed before it could
    pid = os.fork()
    if pid:
        os.close(writer)
        return Forked(pid, reader, said)
    code = 70
    try:
        os.close(reader)
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        tell = Ledger.tell

        def telling(self: Ledger, outcome: Outcome) -> FrozenTrial:
            trial = tell(self, outcome)
            os.write(writer, b".")
            return trial

        Ledger.tell = telling  # type: ignore[method-assign]
        code = _main(path, options)
    finally:
        os._exit(code)


def _main(path: Path, options: tuple[str, ...]) -> int:
    import sys
    import traceback

    from studies import cli

    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - not pytest's
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["mergetuna", "run", str(path), *options]
    try:
        cli.main()
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        traceback.print_exc()
        return 71
    finally:
        sys.stderr.flush()
    return 0
