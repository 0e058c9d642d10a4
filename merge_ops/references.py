"""How a file names a model: a folder relative to it or a hub id, with an adapter; and back.

`model+adapter`, as in mergekit, is a model with a LoRA adapter on it.
"""

import os
import re
from pathlib import Path

from merge_ops.errors import UserError, did_you_mean

_NEAR = 3  # folders above a file from which it names models by relative paths
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w./-]+)?")


def split_adapter(text: str, folder: Path | None = None) -> tuple[str, str | None]:
    """The model that a reference names, and the adapter on it, if any.

    A folder whose own name holds a plus sign is one model. Of several plus signs the one that has
    a folder or a hub id on both sides parts the two.

    Args:
        text: `model` or `model+adapter`.
        folder: what relative paths are relative to.
    """
    if "+" not in text or _is_folder(text, folder):
        return text, None
    for sign in re.finditer(r"\+", text):
        parts = text[: sign.start()], text[sign.end() :]
        if all(_is_folder(part, folder) or _HUB_ID.fullmatch(part) for part in parts):
            return parts
    model, _, adapter = text.partition("+")
    return model, adapter


def short_name(reference: str, folder: Path | None = None) -> str:
    """The last part of each path: "llama+maths" for "/models/llama+/adapters/maths"."""
    parts = split_adapter(reference, folder)
    return "+".join(Path(part).name for part in parts if part is not None)


def locate_here(text: str) -> str:
    """As `locate`, for what the command line names.

    Raises:
        UserError: it is neither a folder nor a hub id.
    """
    try:
        return locate(text, Path.cwd(), "here")
    except ValueError as error:
        raise UserError(f"{error}.") from None


def locate(text: str, folder: Path, what: str = "this file") -> str:
    """An absolute path for a local folder, or a hub id as it is; both sides of `model+adapter`.

    Args:
        text: as in the file.
        folder: where the file lies.
        what: relative paths are relative to, in words.

    Raises:
        ValueError: it is neither; the message fits behind the key's name.
    """
    model, adapter = split_adapter(text, folder)
    if adapter is None:
        return _locate(model, folder, what)
    if not model or not adapter:
        raise ValueError(f"{text!r} must name a model and an adapter, model+adapter")
    return f"{_locate(model, folder, what)}+{_locate(adapter, folder, what)}"


def _locate(text: str, folder: Path, what: str) -> str:
    try:
        local = folder / Path(text).expanduser()
        if text and local.is_dir():
            return str(local.resolve())
        nearly = local.parent != folder and local.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long; no such user; a zero byte
        raise ValueError(f"{text[:80]!r} cannot be a folder: {error}") from None
    if nearly:  # a path with a slip in its last part
        hint = did_you_mean(local.name, (p.name for p in local.parent.iterdir()))
        raise ValueError(f"there is no folder {text!r}{hint}")
    if not _HUB_ID.fullmatch(text):
        raise ValueError(
            f"{text!r} is neither a folder (relative to {what}) nor a hub id like "
            "owner/name@revision" + _one_adapter(text)
        )
    return text


def _one_adapter(text: str) -> str:
    return "; a model takes one adapter, model+adapter" if "+" in text else ""


def _is_folder(text: str, folder: Path | None) -> bool:
    try:
        return bool(text) and ((folder or Path()) / Path(text).expanduser()).is_dir()
    except (OSError, RuntimeError):  # too long; no such user
        return False


def relative(reference: str, folder: Path) -> str:
    """What a file in `folder` should call a model: relative if it lies near, else as it is."""
    parts = [part for part in split_adapter(reference) if part is not None]
    return "+".join(_relative(part, folder) for part in parts)


def _relative(reference: str, folder: Path) -> str:
    path, here = Path(reference), folder.resolve()
    near = [parent for parent in here.parents[:_NEAR] if parent != parent.parent]
    if not path.is_absolute() or not any(path.is_relative_to(parent) for parent in near):
        return reference
    return os.path.relpath(path, here)
