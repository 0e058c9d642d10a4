"""How a job of many equal steps shows itself: a bar on a terminal, plain lines in a log."""

import time
from typing import Any

from studies.console import warn
from studies.voice import draws

_LINES = 10  # plain lines for a whole job
_APART_S = 10.0  # and what lies between two of them; a job of seconds has none


class StepProgress:
    """Shows how many of a job's steps are done."""

    def __init__(self, title: str, unit: str) -> None:
        """Args: what is done, and what a step is: "tensors"."""
        self._title = title
        self._unit = unit
        self._bar: Any = None
        self._task: Any = None
        self._lines, self._told = 0, time.monotonic()

    def __enter__(self) -> "StepProgress":
        if draws():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, done: int, total: int) -> None:
        """So many steps of so many are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        now, tenth = time.monotonic(), done * _LINES // total
        if tenth > self._lines and now - self._told >= _APART_S:
            self._lines, self._told = tenth, now
            warn(f"{self._title}: {done}/{total} {self._unit}")
