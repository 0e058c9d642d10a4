"""Which refusals of the file system are a person's to mend, and what is said of them."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.disk import FULL

_REFUSED = {
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EROFS: "its disk can only be read",
    errno.EISDIR: "it is a folder, but must be a file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links go in a circle",
}
"""What no program can do anything about."""
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST}
_PROGRAM = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))


def persons_mistake(error: OSError, words: Sequence[str]) -> str | None:
    """One line for an error that a path caused which a person chose; None for any other.

    A path that is refused is theirs wherever it was written down, unless it is the program's own.
    One that is not there may be the program's fault as well: it is theirs if the command line
    names it, what it lies in, or its neighbour.

    Args:
        error: with the path that the system refused.
        words: of the command line.
    """
    if error.errno in FULL:
        return f"{error.filename or 'the disk'}: there is no room on the disk."
    if not isinstance(error.filename, str):
        return None
    path = Path(error.filename).absolute()
    if any(path.is_relative_to(folder) for folder in _PROGRAM):
        return None
    if error.errno in _NO_FOLDER:
        file = next((p for p in (path, *path.parents) if os.path.lexists(p)), path)
        if file.is_dir():  # a folder that was to be new
            return None
        return f"{_short(file)}: it is a file, but must be a folder."
    named = _named(path, words)
    if error.errno in _REFUSED:
        return f"{named or _short(path)}: {_REFUSED[error.errno]}."
    if error.errno == errno.ENOENT and named is not None:
        return f"{named}: it is not there and cannot be made ({error.strerror})."
    return None


def _named(path: Path, words: Sequence[str]) -> str | None:
    """What the command line calls a path, or its neighbour: a temporary file lies beside."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("-") else word
        if not value:
            continue
        known = Path(value).absolute()
        if path.parent == known.parent and path.name.lstrip(".").startswith(known.stem):
            return value
        if path.is_relative_to(known) or known.is_relative_to(path):
            return _short(path)
    return None


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
