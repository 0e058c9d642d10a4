"""Ctrl-C and SIGTERM: the first lets the running block of items finish, the second stops now."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from studies.console import warn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The person or the machine asked to stop; no Exception, so that nothing swallows it.

    Attributes:
        code: what the process exits with: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, number: int) -> None:
        """Args: the signal's number."""
        super().__init__()
        self.code = 128 + number


class Interruption:
    """What was asked of a study while it runs.

    Outside a trial nothing would be lost, so that the first signal stops at once there too.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._in_trial = False
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether somebody asked to stop."""
        return self._asked is not None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {number: signal.signal(number, self._on) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _: FrameType | None) -> None:
        if not self._in_trial or self._asked is not None:
            raise Stopped(number)
        self._asked = number
        warn("Stopping after the running block of items, which is kept. Once more to stop now.")

    def check(self) -> None:
        """To be called between two blocks of items, where all scores are stored.

        Raises:
            Stopped: a signal came meanwhile.
        """
        if self._asked is not None:
            raise Stopped(self._asked)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Hold the first signal back until the trial is told, or `check` is called in it.

        Raises:
            Stopped: one came meanwhile.
        """
        self._in_trial = True
        try:
            yield
        finally:
            self._in_trial = False
        self.check()
