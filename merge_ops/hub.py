"""From a model's reference (a folder or a hub id) to local folders and its sha256."""

import hashlib
import json
from functools import cache
from pathlib import Path

from merge_ops.download import download
from merge_ops.errors import UserError, first_line
from merge_ops.old_layouts.recognition import old_layout
from merge_ops.references import split_adapter

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_WHOLE = "model.safetensors"
_UNMERGED = "non_lora_trainables.bin"
"""Beside the adapters of LLaVA's own code: what else was trained, as a pickle."""


@cache
def model_folder(reference: str) -> Path:
    """The folder that holds a model's files; a hub id is downloaded, or found in the hub's cache.

    Args:
        reference: a local folder, or `owner/name` or `owner/name@revision` on the hub; of
            `model+adapter` the model's folder.

    Raises:
        UserError: there is no such folder or repository, it is in an old layout, or it holds no
            safetensors weights, or not all that its index names.
    """
    reference, _ = split_adapter(reference)
    folder = _local(reference)
    _refuse_old(folder, reference)
    if (folder / ADAPTER_CONFIG).is_file():
        _refuse_adapter(folder, reference)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{reference}: a model folder must hold config.json, but {folder} does not."
        )
    if not weight_files(folder):
        pickles = _pickles(folder)
        found = f"only pickles ({', '.join(pickles)}), which are not loaded" if pickles else "none"
        others = sorted(path.name for path in folder.glob("*.safetensors"))
        found = f"neither, but {', '.join(others[:3])}" if others else found
        raise UserError(
            f"{reference}: weights must be safetensors, in {_WHOLE} or in files that "
            f"{_WHOLE}.index.json names, but {folder} holds {found}. If they are pickles "
            f"(pytorch_model.bin): mergetuna convert {reference} OUT --allow-pickle"
        )
    _check_shards(folder, reference)
    return folder


@cache
def adapter_folder(reference: str) -> Path | None:
    """The folder that holds the adapter of `model+adapter`; None for a model without one.

    Raises:
        UserError: there is no such folder or repository, or it holds no adapter in safetensors.
    """
    _, adapter = split_adapter(reference)
    if adapter is None:
        return None
    folder = _local(adapter)
    _refuse_old(folder, adapter)
    if not (folder / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{adapter}: the part behind the plus sign must be a PEFT adapter with "
            f"{ADAPTER_CONFIG}, but {folder} has none."
        )
    pickles = _pickles(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        found = f"only pickles ({', '.join(pickles)}), which are not loaded" if pickles else "none"
        raise UserError(
            f"{adapter}: weights must be {ADAPTER_WEIGHTS}, but {folder} holds {found}. Convert "
            "the adapter with PEFT first: load it onto its model, then "
            "save_pretrained(..., safe_serialization=True)."
        )
    if _UNMERGED in pickles:
        raise UserError(
            f"{adapter}: {_UNMERGED}, a pickle, holds weights that were trained beside the LoRA "
            "and are not loaded. Merge the adapter with the code it was trained with, and use the "
            "merged model."
        )
    return folder


def _refuse_old(folder: Path, reference: str) -> None:
    """Layouts that are not read as they are."""
    old = old_layout(folder)
    if old is not None:
        raise UserError(
            f"{reference}: it is {old.name}, which is not read as it is. "
            f"Convert it first: {old.command(reference)}"
        )


def _refuse_adapter(folder: Path, reference: str) -> None:
    """An adapter alone is no model, and what else lies beside it may or may not be meant."""
    others = [path.name for path in weight_files(folder) if path.name != ADAPTER_WEIGHTS]
    if others:
        raise UserError(
            f"{reference}: a folder must hold a model or an adapter, but {folder} holds both "
            f"({others[0]}, {ADAPTER_CONFIG}). Move the adapter's two files to a folder of their "
            "own, and write MODEL+ADAPTER to put it on."
        )
    raise UserError(f"{reference}: it is an adapter, which needs its model: MODEL+{reference}.")


def _local(reference: str) -> Path:
    folder = Path(reference)
    return folder if folder.is_dir() else download(reference)


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for path in [*folder.glob("*.bin"), *folder.glob("*.pt*")])


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
    """Sha256, in hex, over the config and the weight files of a model and of its adapter."""
    folder, total = model_folder(reference), hashlib.sha256()
    files = [folder / "config.json", *weight_files(folder)]
    adapter = adapter_folder(reference)
    if adapter is not None:
        files += [adapter / ADAPTER_CONFIG, adapter / ADAPTER_WEIGHTS]
    for path in files:
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
