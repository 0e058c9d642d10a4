"""From a model's reference (a folder or a hub id) to a local folder and its sha256."""

import hashlib
import json
from functools import cache
from pathlib import Path

from merge_ops.errors import UserError, first_line

_WHOLE = "model.safetensors"
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


@cache
def model_folder(reference: str) -> Path:
    """The folder that holds a model's files; a hub id is downloaded, or found in the hub's cache.

    Args:
        reference: a local folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises:
        UserError: there is no such folder or repository, or it holds no safetensors weights, or
            not all that its index names.
    """
    folder = Path(reference)
    if not folder.is_dir():
        folder = _download(reference)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{reference}: a model folder must hold config.json, but {folder} does not."
        )
    if not weight_files(folder):
        pickles = sorted(p.name for p in [*folder.glob("*.bin"), *folder.glob("*.pt*")])
        found = f"only pickles ({', '.join(pickles)}), which are not loaded" if pickles else "none"
        others = sorted(path.name for path in folder.glob("*.safetensors"))
        found = f"neither, but {', '.join(others[:3])}" if others else found
        raise UserError(
            f"{reference}: weights must be safetensors, in {_WHOLE} or in files that "
            f"{_WHOLE}.index.json names, but {folder} holds {found}. "
            "Convert the model with transformers' save_pretrained first."
        )
    _check_shards(folder, reference)
    return folder


def _check_shards(folder: Path, reference: str) -> None:
    """Every file that the index of a sharded model names must be there."""
    named = set(shards(folder).values())
    absent = sorted(name for name in named if not (folder / name).is_file())
    if absent:
        raise UserError(
            f"{reference}: all {len(named)} files that {_WHOLE}.index.json names must be there, "
            f"but {len(absent)} are not: {', '.join(absent[:3])}{' ...' if absent[3:] else ''}. "
            "Download the model again."
        )


def _download(reference: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name, _, revision = reference.partition("@")
    try:
        path = snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(
            f"{reference}: it is not a folder here, and the hub did not give it ({reason}). "
            "Check the name, log in with `hf auth login` if it is gated, or pass a local folder."
        ) from None
    return Path(path)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a model's weights, sorted: those that transformers reads.

    Raises:
        UserError: the index of a sharded model names something that is no file of its folder.
    """
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    return [folder / name for name in sorted(set(shards(folder).values()))]


def shards(folder: Path) -> dict[str, str]:
    """What the index of a sharded model says: the file's name by tensor; empty without one.

    Raises:
        UserError: it is no index, or names something that is no file of its folder.
    """
    index = folder / f"{_WHOLE}.index.json"
    if (folder / _WHOLE).is_file() or not index.is_file():  # a whole model needs no index
        return {}
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        found = {str(tensor): Path(name) for tensor, name in named.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = repr(first_line(error))
        raise UserError(f"{index}: it is no index of safetensors files: {reason}") from None
    for tensor, path in found.items():
        if path.name != str(named[tensor]) or path.suffix != ".safetensors":
            raise UserError(
                f"{index}: each file must be a .safetensors file beside it, but {tensor!r:.80} is "
                f"in {named[tensor]!r:.80}."
            )
    return {tensor: path.name for tensor, path in found.items()}


@cache
def weights_sha256(reference: str) -> str:
    """Sha256, in hex, over the config and the weight files of a model."""
    folder, total = model_folder(reference), hashlib.sha256()
    for path in [folder / "config.json", *weight_files(folder)]:
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
