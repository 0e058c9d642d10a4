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
        UserError: `path` exists and is not an empty folder, and `overwrite` is not set.
    """
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists; choose another folder or pass --overwrite.")


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name if the block succeeds.

    Raises:
        UserError: `path` exists and is not an empty folder, and `overwrite` is not set.
    """
    check_free(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield scratch
        for file in scratch.rglob("*"):
            if file.is_file():
                file.chmod(0o644)  # safetensors writes files that nobody else may read
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        scratch.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        scratch.replace(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
