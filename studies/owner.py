"""Who runs a study: one process at a time, named in the study's lock, with a sign of life."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from merge_ops.errors import UserError
from studies.console import warn

LOCK = ".lock"
_BEAT = 10.0  # seconds between two signs of life
_SILENT = 6 * _BEAT  # without one for so long, an owner on another machine is taken for dead


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the study's folder against a second coordinator.

    The kernel gives the lock of a dead process away. Over a network some file systems keep locks
    per machine: there the other machine's signs of life (the lock's time of change) decide.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: the study cannot be written there: {error}") from None
    with os.fdopen(handle, "r+", encoding="utf-8") as stream:
        _claim(stream, folder)
        over = threading.Event()
        beat = threading.Thread(target=_beat, args=(handle, over), daemon=True)
        beat.start()
        try:
            yield
        finally:
            over.set()
            beat.join()
            os.ftruncate(handle, 0)


def _claim(stream: IO[str], folder: Path) -> None:
    """Take the lock, or say who has it."""
    owner, age = _owner(stream)
    for patience in (0.2, 0.2, None):  # whoever looks at the lock holds it for a moment
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if patience is None:
                raise UserError(
                    f"{folder}: another process is running this study{_named(owner, age)}; wait "
                    "for it."
                ) from None
            time.sleep(patience)
    elsewhere = owner.get("host", socket.gethostname()) != socket.gethostname()
    if elsewhere and abs(age) < _SILENT:
        raise UserError(
            f"{folder}: another machine is running this study{_named(owner, age)}; wait for it, "
            f"or, if it is dead, for {_SILENT:.0f} s without a sign of life."
        )
    if owner:
        warn(f"{folder}: taking over from a process that died{_named(owner, age)}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    with suppress(OSError):  # a full disk; the lock holds without a name
        os.ftruncate(stream.fileno(), 0)
        os.pwrite(stream.fileno(), json.dumps(content).encode(), 0)


def _owner(stream: IO[str]) -> tuple[dict[str, Any], float]:
    """What the lock says of its last owner, if it did not leave in order, and its age."""
    try:
        content = json.loads(stream.read(4096) or "{}")
    except ValueError:
        content = {}
    age = time.time() - os.fstat(stream.fileno()).st_mtime
    return content if isinstance(content, dict) else {}, age


def _named(owner: dict[str, Any], age: float) -> str:
    if not owner:
        return ""
    who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}"
    return f" ({who}, last sign of life {age:.0f} s ago)"


def _beat(handle: int, over: threading.Event) -> None:
    while not over.wait(_BEAT):
        try:
            os.utime(handle)
        except OSError:
            return
