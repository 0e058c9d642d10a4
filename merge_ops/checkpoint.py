"""A checkpoint that is read one tensor at a time, under the names that its model has in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from merge_ops.disk_names import Place, disk_places
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import DTYPES, empty_model, load_model

_TORCH = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}


@dataclass(slots=True)
class Checkpoint:
    """A model on disk.

    Attributes:
        reference: the folder or hub id.
        model: the model without weights (on the meta device): names, shapes, ties.
        dtype: in which tensors are read.
        places: where each parameter and each stored buffer stands; empty where loading makes
            tensors from several on disk, and the model is read whole by transformers instead.
    """

    reference: str
    model: nn.Module
    dtype: torch.dtype
    places: Mapping[str, Place]
    _whole: dict[str, Tensor] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """One parameter or buffer on the CPU; mapped, and so in no memory, if dtypes agree."""
        if self.is_whole:
            return self._read_whole(name)
        place = self.places[name]
        with safe_open(place.path, "pt") as file:
            tensor: Tensor = file.get_tensor(place.key)
        return tensor.to(self.dtype)

    @property
    def is_whole(self) -> bool:
        """Whether it is read whole: some parameter is made of several tensors on disk."""
        return not self.places

    def bytes(self) -> int:
        """Of all its parameters, in the dtype in which they are read."""
        return sum(p.numel() for p in self.model.parameters()) * self.dtype.itemsize

    def release(self) -> None:
        """Let go of what was read whole; asked for again, it is read again."""
        self._whole.clear()

    def _read_whole(self, name: str) -> Tensor:
        if not self._whole:
            named = {label: key for key, label in DTYPES.items()}
            loaded = load_model(self.reference, named[self.dtype])
            self._whole |= loaded.state_dict()
        return self._whole[name]


def open_checkpoint(reference: str, dtype: str | None) -> Checkpoint:
    """Find out what a checkpoint holds, and that it holds the whole model; nothing is loaded.

    Args:
        reference: a folder or a hub id.
        dtype: a key of `DTYPES`, or None for the checkpoint's own.

    Raises:
        UserError: parameters have other shapes on disk, or are not stored in floating point.
    """
    model = empty_model(reference)
    places = disk_places(model_folder(reference), model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, place in places.items():
        if name in parameters:
            _check_dtype(reference, place)
    wrong = [
        f"{name} is {place.shape} on disk and {tuple(parameters[name].shape)} in the model"
        for name, place in places.items()
        if name in parameters and place.shape != tuple(parameters[name].shape)
    ]
    if wrong:
        raise UserError(f"{reference}: shapes must agree with config.json, but {wrong[0]}.")
    stored = {id(parameters[name]) for name in places if name in parameters}  # ties count once
    missing = [name for name, parameter in parameters.items() if id(parameter) not in stored]
    chosen = DTYPES[dtype] if dtype else _own_dtype(model, places)
    return Checkpoint(reference, model, chosen, {} if missing else _tied(places, parameters))


def _check_dtype(reference: str, place: Place) -> None:
    if place.dtype not in _TORCH:
        raise UserError(
            f"{reference}: {place.key} must be stored as one of {', '.join(_TORCH)}, but is "
            f"{place.dtype}; dequantise the model first."
        )


def _own_dtype(model: nn.Module, places: Mapping[str, Place]) -> torch.dtype:
    """What transformers' `dtype="auto"` takes: the config's, else that of the first tensor."""
    config: Any = model.config
    stored = [_TORCH[place.dtype] for place in places.values() if place.dtype in _TORCH]
    chosen = getattr(config, "dtype", None)
    return chosen if isinstance(chosen, torch.dtype) else next(iter(stored), torch.float32)


def _tied(places: Mapping[str, Place], parameters: Mapping[str, nn.Parameter]) -> dict[str, Place]:
    """Places by every name of a parameter, also those under which it is not stored."""
    stored = {id(parameters[name]): place for name, place in places.items() if name in parameters}
    every = {name: stored[id(parameter)] for name, parameter in parameters.items()}
    return {**places, **every}  # buffers have places too
