"""Who runs a study: the lock of its folder, with the name of its holder in it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import gethostname

from merge_ops.errors import UserError

LOCK = ".lock"


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


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the study's folder against a second coordinator.

    Raises:
        UserError: another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as stream:
        for patience in (0.2, 0.2, None):  # whoever looks at the lock holds it for a moment
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if patience is None:
                    raise UserError(
                        f"{folder}: another process is running this study; wait for it."
                    ) from None
                time.sleep(patience)
        stream.truncate(0)
        stream.write(json.dumps(asdict(Holder(os.getpid(), gethostname(), time.time()))))
        stream.flush()
        yield


def holder(folder: Path) -> Holder | None:
    """Who runs the study of a folder just now; None if nobody does. Nothing is written."""
    import fcntl

    try:
        stream = (folder / LOCK).open("r", encoding="utf-8")
    except FileNotFoundError:
        return None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return None
        try:
            return Holder(**json.load(stream))
        except (ValueError, TypeError):  # it took the lock this moment
            return Holder(None, "", None)
