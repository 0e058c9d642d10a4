"""Where a checkpoint keeps each parameter, where the library's names in memory differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from merge_ops.errors import UserError
from merge_ops.hub import weight_files


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


def disk_places(folder: Path, model: nn.Module) -> dict[str, Place]:
    """Where the checkpoint holds every parameter that it holds as one tensor.

    Found by transformers' own rules for loading. Tensors that loading fuses from several have no
    place of their own and are left out.

    Args:
        folder: the checkpoint.
        model: of the class that its config names; its weights may be on the meta device.

    Returns:
        Places by parameter name.

    Raises:
        UserError: a file is no safetensors file, or cut short.
    """
    rename, state = renamer(model), model.state_dict()
    found = {}
    for path in weight_files(folder):
        for place in contents(path):
            name = rename(place.key)
            if name in state:
                found[name] = place
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
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: it cannot be read as safetensors: {reason}") from None
