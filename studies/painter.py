"""Draws one view over and over on a terminal, below the lines that are printed meanwhile."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from studies.console import warn

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_SHORTEST = 0.25  # seconds between two drawings
REST = 200
"""A drawing is followed by so many times its own seconds of rest: it costs a study 0.5 %."""


class Painter:
    """Draws from a thread of its own, on standard error, so that a long trial's clock goes on.

    Lines for standard error, those of loggers too, and for standard output where that is the
    terminal, are printed above the view. Whatever ends the block, the last view stays, the cursor
    is back and streams are as they were.
    """

    def __init__(self, draw: "Callable[[Console], RenderableType]") -> None:
        """Args: the view for a console of its width and height; called from the thread."""
        self._draw = draw
        self._over = Event()
        self._thread = Thread(target=self._paint, name="live view", daemon=True)
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._live: Any = None
        self._broken = False

    def __enter__(self) -> "Painter":
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=Console(stderr=True, highlight=False, emoji=False),
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        real = sys.stderr
        self._live.start()
        for handler in _handlers(real):
            self._handlers.append((handler, handler.setStream(sys.stderr)))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._over.set()
            self._thread.join()
            if not self._broken:
                self._paint_once()
        finally:
            for handler, stream in self._handlers:
                handler.setStream(stream)
            self._live.stop()

    def _paint(self) -> None:
        rest: float | None = 0.0
        while rest is not None and not self._over.wait(rest):
            rest = self._paint_once()

    def _paint_once(self) -> float | None:
        """Draw; returns for how long to rest then, None if it cannot be drawn."""
        begun = time.thread_time()
        try:
            self._live.update(self._draw(self._live.console), refresh=True)
        except Exception as error:  # a night of scoring must not end in the traceback of a view
            self._broken = True
            warn(f"the live view cannot be drawn: {error!r}; the study goes on without it")
            return None
        return max(_SHORTEST, REST * (time.thread_time() - begun))


def _handlers(stream: Any) -> Iterator["logging.StreamHandler[Any]"]:
    """Handlers of all loggers that write to a stream."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                yield handler
