"""Mending a journal that a crash or a full disk has left torn."""

import os
from pathlib import Path


def mend(path: Path) -> None:
    """Undo what a crash may leave: a torn last line, and a lock whose owner is dead.

    Only the study's one writer may call this (see `studies.owner`); with the torn line nobody
    could read the journal, and for the lock Optuna would wait half a minute.
    """
    Path(f"{path}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        if stream.read() in {b"", b"\n"}:
            return
    cut(path, path.read_bytes().rfind(b"\n") + 1)


def cut(path: Path, size: int) -> None:
    """Shorten a file to `size` bytes, on the disk itself."""
    if path.exists() and path.stat().st_size > size:
        with path.open("r+b") as stream:
            stream.truncate(size)
            stream.flush()
            os.fsync(stream.fileno())
