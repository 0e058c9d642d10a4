"""Where a checkpoint keeps each parameter, where the library's names in memory differ."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from merge_ops.errors import UserError, first_line
from merge_ops.hub import shards, weight_files

_BUFFERS = (r"rotary_emb\.inv_freq$", r"(^|\.)position_ids$")


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor on disk.

    Attributes:
        path: the safetensors file.
        key: its name there.
        shape: its shape.
        dtype: as safetensors writes it: "BF16", "F32" ...
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: str


def disk_places(
    folder: Path, model: nn.Module, unknown: dict[str, str] | None = None
) -> dict[str, Place]:
    """Where the checkpoint holds every parameter that it holds as one tensor.

    Found by transformers' own rules for loading. Tensors that loading fuses from several have no
    place of their own and are left out.

    Args:
        folder: the checkpoint.
        model: of the class that its config names; its weights may be on the meta device.
        unknown: takes the tensors for which the model has no place: their names on disk, by the
            parameter names that they would have.

    Returns:
        Places by parameter name.

    Raises:
        UserError: a file is no safetensors file, or cut short; the files do not hold what their
            index says; or two tensors have one place.
    """
    rename, state = renamer(model), model.state_dict()
    found: dict[str, Place] = {}
    for place in _stored(folder):
        name = rename(place.key)
        if name is None:
            continue
        if name in found:
            raise UserError(
                f"{place.path}: each parameter must be stored once, but {name} is both "
                f"{found[name].key!r:.80} and {place.key!r:.80}."
            )
        if name in state:
            found[name] = place
        elif unknown is not None and not _may_be_left_out(name, model):
            unknown[name] = place.key
    return found


def renamer(model: nn.Module) -> Callable[[str], str | None]:
    """How transformers turns names on disk into those of a model, legacy ones included.

    The function gives None for a tensor that loading fuses with others.
    """
    loaded: Any = model
    rules = get_model_conversion_mapping(loaded)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    state = model.state_dict()

    def rename(key: str) -> str | None:
        name, fused = rename_source_key(
            key, renamings, converters, loaded.base_model_prefix, state
        )
        return name if fused is None else None

    return rename


def _may_be_left_out(name: str, model: Any) -> bool:
    """Whether transformers leaves the tensor out without a word: buffers of older versions."""
    patterns = [*(model._keys_to_ignore_on_load_unexpected or ()), *_BUFFERS]
    return any(re.search(pattern, name) for pattern in patterns)


def _stored(folder: Path) -> list[Place]:
    """Every tensor of a model's files, which must be what their index says, if there is one."""
    places = [place for path in weight_files(folder) for place in contents(path)]
    listed = set(shards(folder).items())
    found = {(place.key, place.path.name) for place in places}
    if listed and listed != found:
        key, name = min(listed ^ found)
        where = "in the index alone" if (key, name) in listed else "in the file alone"
        raise UserError(
            f"{folder}: the index must name what the files hold, but {key!r:.80} of {name} is "
            f"{where}; download the model again."
        )
    return places


def disk_names(places: Mapping[str, Place]) -> dict[str, str]:
    """Names on disk by parameter name."""
    return {name: place.key for name, place in places.items()}


def contents(path: Path) -> list[Place]:
    """What a file's header says it holds.

    Raises:
        UserError: it is no safetensors file, or cut short.
    """
    try:
        with safe_open(path, "pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no dict)
            return [
                Place(path, key, tuple(found.get_shape()), found.get_dtype())
                for key, found in slices.items()
            ]
    except (SafetensorError, OSError) as error:
        reason = first_line(error)
        raise UserError(f"{path}: it cannot be read as safetensors: {reason}") from None
