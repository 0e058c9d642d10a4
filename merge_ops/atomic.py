"""Writing so that a file or folder is there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from merge_ops.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a file holding `text`: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something, before any work is done.

    Raises:
        UserError: `path` is a file; or exists and is not an empty folder, and `overwrite` is not
            set.
    """
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not there.is_dir():
        what = "is a file" if there == path else f"{there} is a file"
        raise UserError(f"{path} must be a folder, but {what}; choose another name.")
    if path.exists() and not overwrite and any(path.iterdir()):
        raise UserError(f"{path} exists; choose another folder or pass --overwrite.")


def check_space(path: Path, size: int) -> None:
    """Refuse to write more than the disk has room for, before any work is done.

    What `path` holds already does not count as room: it stays until the new folder is whole.

    Args:
        path: the folder that will be written.
        size: bytes that will be written.

    Raises:
        UserError: the disk has less than that free; the numbers are given.
    """
    there = next(p for p in [path, *path.absolute().parents] if p.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise UserError(
            f"{path}: {size / 2**20:,.1f} MiB will be written, but its disk has "
            f"{free / 2**20:,.1f} MiB free; make room or choose a folder on another disk."
        )


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name if the block succeeds.

    A folder that is replaced keeps its name and content until then.

    Raises:
        UserError: `path` is a file; or exists and is not an empty folder, and `overwrite` is not
            set.
    """
    check_free(path, overwrite=overwrite)
    path = path.resolve()  # a link's own target is replaced, on its own disk
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch, old = (
        Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")) for _ in range(2)
    )
    try:
        yield scratch
        for file in [*scratch.rglob("*"), scratch]:
            file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors gives 0600
            _sync(file)
        if path.exists():
            path.replace(old)  # deleting takes time, in which a half of it would bear the name
        scratch.replace(path)
        _sync(path.parent)
    finally:
        if not path.exists() and any(old.iterdir()):  # stopped between the two renames
            old.replace(path)
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
