"""Whether writing to a folder would destroy what a command reads."""

import os
from collections.abc import Iterable
from pathlib import Path

from merge_ops.references import split_adapter


def harm(out: Path, files: Iterable[Path], models: Iterable[str] = ()) -> str | None:
    """What would be lost if `out` became a folder of results, or None.

    Links are followed, so that another name for a folder does not help.

    Args:
        out: the folder that will be written; it need not exist.
        files: files and folders that are read. None of them may be `out` or lie in it.
        models: references of models; besides, `out` may not lie in a model's folder.
    """
    try:
        here = out.resolve()
        there = next(p for p in (here, *here.parents) if p.exists())
    except (OSError, RuntimeError, ValueError) as error:
        return f"it cannot be a folder: {error}"
    if here == here.parent:
        return "it is the root of all files"
    if _is_home(here):
        return "it is the home folder"
    if not there.is_dir():
        return f"it must be a folder, but {there} is a file"
    folders = [Path(part) for name in models for part in split_adapter(name) if part]
    folders = [folder for folder in folders if os.path.isdir(folder)]  # noqa: PTH112 - never raises
    for path in [*files, *folders]:
        real = path.resolve()
        if real.exists() and real.is_relative_to(here):
            return (
                f"it is {path}, which is read"
                if real == here
                else f"it holds {path}, which is read"
            )
    inside = next((f for f in folders if here.is_relative_to(f.resolve())), None)
    return None if inside is None else f"it lies in the model {inside}"


def _is_home(folder: Path) -> bool:
    try:
        return folder == Path.home().resolve()
    except RuntimeError:
        return False
