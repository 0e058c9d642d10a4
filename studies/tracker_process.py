"""The tracker in a process of its own: MLflow takes none of the study's time but spare cores'."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Any

from studies.tracking_wire import Answer, Ask, Question, Task

_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from studies.tracker_process import main; main(int(sys.argv[2]))"
)
_ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Environment of the process: it computes nothing and must not hold a device."""


class TrackerDiedError(Exception):
    """Its process ended before it was told to; the message says how."""


class TrackerProcess:
    """A tracker that runs in a process of its own."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def work(self, task: Task, answers: Ask) -> None:
        """Start it and answer its questions until it is over.

        Args:
            task: what to mirror where.
            answers: gives the study's answer; an EOFError ends the process.

        Raises:
            TrackerDiedError: the process ended early.
        """
        own, other = Pipe()
        with tempfile.TemporaryFile() as said, own:
            self._process = _spawn(other.fileno(), said)
            other.close()
            try:
                _converse(own, task, answers)
            except (EOFError, OSError):
                self.kill()
                why = _why(self._process.wait(), said)
                raise TrackerDiedError(f"the tracker's process ended {why}") from None
            self._process.wait()

    def kill(self) -> None:
        """End it at once; what it was writing is completed by the next to come."""
        if self._process is not None:
            self._process.kill()


def _spawn(line: int, said: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A process group of its own: signals of a terminal are the study's alone."""
    return subprocess.Popen(
        [sys.executable, "-c", _BEGIN, json.dumps(sys.path), str(line)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        pass_fds=[line],
        process_group=0,
        env={**os.environ, **_ALONE},
    )


def _converse(line: "Connection[Any, Any]", task: Task, answers: Ask) -> None:
    line.send(task)
    while not (question := line.recv()).over:
        line.send(answers(question))
    answers(question)


def _why(code: int, said: IO[bytes]) -> str:
    """The last line of a traceback, a signal or a code."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    if code < 0:
        return f"by signal {-code}"
    return f"with code {code}" + (f": {lines[-1][:300]}" if lines else "")


def main(number: int) -> None:
    """The process itself; its line to the study is the file descriptor of that number."""
    for each in (signal.SIGINT, signal.SIGTERM):  # the study decides when it is over
        signal.signal(each, signal.SIG_IGN)
    parent = os.getppid()
    line: Connection[Any, Any] = Connection(number)

    def ask(question: Question) -> Answer:
        line.send(question)
        if question.over:
            return Answer((), more=False, told=None, closing=True, summary=None)
        answer = line.recv()
        assert isinstance(answer, Answer)
        return answer

    from studies.tracker import Tracker

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the study is gone
        task: Task = line.recv()
        Tracker(task, ask, lambda: os.getppid() != parent).run()
