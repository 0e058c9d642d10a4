"""How a file names a model: a folder relative to it, or a hub id; and back."""

import os
import re
from pathlib import Path

from merge_ops.errors import did_you_mean

_NEAR = 3  # folders above a file from which it names models by relative paths
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")


def locate(text: str, folder: Path) -> str:
    """An absolute path for a local folder, or a hub id as it is.

    Args:
        text: as in the file.
        folder: where the file lies.

    Raises:
        ValueError: it is neither; the message fits behind the key's name.
    """
    local = folder / Path(text).expanduser()
    if local.is_dir():
        return str(local.resolve())
    if "+" in text:
        raise ValueError(
            f"a LoRA adapter must be merged into its model first (peft: merge_and_unload), "
            f"but got {text!r}"
        )
    if local.parent != folder and local.parent.is_dir():  # a path with a slip in its last part
        hint = did_you_mean(local.name, (p.name for p in local.parent.iterdir()))
        raise ValueError(f"there is no folder {text!r}{hint}")
    if not _HUB_ID.fullmatch(text):
        raise ValueError(
            f"{text!r} is neither a folder (relative to this file) nor a hub id like "
            "owner/name@revision"
        )
    return text


def relative(reference: str, folder: Path) -> str:
    """What a file in `folder` should call a model: relative if it lies near, else as it is."""
    path, here = Path(reference), folder.resolve()
    near = [parent for parent in here.parents[:_NEAR] if parent != parent.parent]
    if not path.is_absolute() or not any(path.is_relative_to(parent) for parent in near):
        return reference
    return os.path.relpath(path, here)
