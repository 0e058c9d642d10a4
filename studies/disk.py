"""Writing to a disk that is full for a while: the study waits, and goes on when there is room."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from merge_ops.errors import UserError
from studies.console import warn

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What a disk without room says."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds

Result = TypeVar("Result")


def with_room(
    write: Callable[[], Result],
    folder: Path,
    patience: float,
    undo: Callable[[], None] = lambda: None,
) -> Result:
    """Call `write`, again and again while the disk is full.

    Args:
        write: may be called several times.
        folder: is named in messages.
        patience: seconds to wait at most.
        undo: takes back what a write that failed has left.

    Raises:
        UserError: the disk was full for all that time.
        OSError: any other failure.
    """
    begun, pause, said = time.monotonic(), _FIRST_PAUSE, False
    while True:
        try:
            result = write()
        except OSError as error:
            if error.errno not in FULL:
                raise
            undo()
            left = begun + patience - time.monotonic()
            if left <= 0:
                raise UserError(
                    f"{folder}: its disk had no room for {patience:g} s ({error}). What was "
                    "written before is kept; make room and run the same command again."
                ) from None
            if not said:
                warn(f"{folder}: its disk is full; waiting up to {left:.0f} s for room to be made")
            said = True
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            if said:
                warn(f"{folder}: there is room again; going on")
            return result
