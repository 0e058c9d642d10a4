"""From a model's reference (a folder or a hub id) to a local folder and its sha256."""

import hashlib
import json
from functools import cache
from pathlib import Path

from merge_ops.errors import UserError

_WHOLE = "model.safetensors"
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md"]


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
        raise UserError(
            f"{reference}: weights must be safetensors, but {folder} holds {found}. "
            "Convert the model with transformers' save_pretrained first."
        )
    _check_shards(folder, reference)
    return folder


def _check_shards(folder: Path, reference: str) -> None:
    """Every file that the index of a sharded model names must be there."""
    index = folder / f"{_WHOLE}.index.json"
    if not index.is_file() or (folder / _WHOLE).is_file():  # a whole model needs no index
        return
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{index}: it is no index of safetensors files: {error!r}") from None
    absent = sorted(name for name in named if not (folder / name).is_file())
    if absent:
        raise UserError(
            f"{reference}: all {len(named)} files that {index.name} names must be there, but "
            f"{len(absent)} are not: {', '.join(absent[:3])}{' ...' if absent[3:] else ''}. "
            "Download the model again."
        )


def _download(reference: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name, _, revision = reference.partition("@")
    try:
        path = snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{reference}: it is not a folder here, and the hub did not give it ({reason}). "
            "Check the name, log in with `hf auth login` if it is gated, or pass a local folder."
        ) from None
    return Path(path)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, sorted."""
    return sorted(folder.glob("*.safetensors"))


@cache
def weights_sha256(reference: str) -> str:
    """Sha256, in hex, over the config and the weight files of a model."""
    folder, total = model_folder(reference), hashlib.sha256()
    for path in [folder / "config.json", *weight_files(folder)]:
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
