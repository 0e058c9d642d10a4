"""How a run speaks: lines and bars for a person, nothing, or one JSON object an event."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

Voice = Literal["lines", "quiet", "json"]

_lock = Lock()  # the tracker speaks from a thread of its own
_voice: Voice = "lines"


@contextmanager
def speaking(voice: Voice) -> Iterator[None]:
    """Let everything in the block speak this way.

    Args:
        voice: "lines" on standard error; "quiet" says nothing but errors; "json" writes events to
            standard output and nothing else.
    """
    global _voice  # one process has one standard output
    before, _voice = _voice, voice
    try:
        yield
    finally:
        _voice = before


def note(text: str) -> None:
    """Say something that is no result."""
    if _voice == "lines":
        sys.stderr.write(f"{text}\n")
    else:
        event("note", {"text": text})


def event(kind: str, facts: Mapping[str, Any]) -> None:
    """Write an event, if events are what is listened to.

    Args:
        kind: start, note, trial, best, end, error or stopped.
        facts: plain data.
    """
    if _voice != "json":
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"event": kind, "time": now, **facts})
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def spoken_to() -> bool:
    """Whether a person reads along: results are printed as tables."""
    return _voice == "lines"


def draws() -> bool:
    """Whether progress may be drawn over and over: a person sits at a terminal that can."""
    return _voice == "lines" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
