"""A study in a new process, to be killed while it imports, loads or scores."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

COMMAND = "import studies.cli as c; c.main()"


@dataclass(frozen=True, slots=True)
class Cold:
    """A running study, seen from outside alone.

    Attributes:
        process: of the command.
        said: file of what it prints: events, and errors.
    """

    process: "subprocess.Popen[bytes]"
    said: Path

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def wait(self, timeout: float = 240.0) -> int:
        """Exit code, or minus the signal that ended it."""
        return self.process.wait(timeout)

    def count(self) -> int:
        """Trials told so far; a torn last line is none."""
        lines = self.said.read_bytes().split(b"\n")[:-1]
        return sum(line.startswith(b"{") and _kind(line) == "trial" for line in lines)

    def wait_for_a_trial(self) -> None:
        """Return when the first has been told."""
        while not self.count():
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.01)


def _kind(line: bytes) -> str:
    return str(json.loads(line)["event"])


def start_cold(path: Path) -> Cold:
    """Run `mergetuna run PATH --json-log` in a new process."""
    said = path.with_suffix(".log")
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", COMMAND, "run", str(path), "--json-log"]
    with said.open("wb") as stream:
        process = subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    return Cold(process, said)
