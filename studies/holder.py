"""Who runs a study just now: its lock, looked at and not taken."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from studies.owner import LOCK


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that runs a study.

    Attributes:
        pid: its id, on its own machine; None if it has not said yet.
        host: that machine.
        since: when it took the folder, in seconds since 1970.
    """

    pid: int | None
    host: str
    since: float | None


def holder(folder: Path) -> Holder | None:
    """Who runs the study of a folder just now; None if nobody does. Nothing is written."""
    import fcntl

    try:
        stream = (folder / LOCK).open("r", encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return None
        try:
            content = json.load(stream)
            since = datetime.fromisoformat(content["since"]).timestamp()
            return Holder(content["pid"], content["host"], since)
        except (ValueError, TypeError, KeyError):  # it took the lock this moment
            return Holder(None, "", None)
