"""A checkpoint that is read one tensor at a time, under the names that its model has in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from merge_ops.adapter import Adapter, open_adapter
from merge_ops.disk_names import Place, disk_places
from merge_ops.edits import apply_edit
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import DTYPES, empty_model, load_model
from merge_ops.references import split_adapter

_TORCH = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}


@dataclass(slots=True)
class Checkpoint:
    """A model on disk, with an adapter on it or without.

    Attributes:
        reference: the folder or hub id, or `model+adapter`.
        model: the model without weights (on the meta device): names, shapes, ties.
        dtype: in which tensors are read.
        places: where each parameter and each stored buffer stands; empty where loading makes
            tensors from several on disk, and the model is read whole by transformers instead.
        adapter: what is done to tensors after they are read, or None.
        unknown: names on disk of tensors for which the model has no place; they are not read.
    """

    reference: str
    model: nn.Module
    dtype: torch.dtype
    places: Mapping[str, Place]
    adapter: Adapter | None = None
    unknown: tuple[str, ...] = ()
    _whole: dict[str, Tensor] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """One parameter or buffer on the CPU; mapped, and so in no memory, if dtypes agree.

        One that an adapter changes is computed, each time anew.
        """
        edit = self.adapter.edits.get(name) if self.adapter else None
        stored = self._stored(name)
        return stored if edit is None else apply_edit(edit, stored)

    def is_computed(self, name: str) -> bool:
        """Whether a parameter is made when it is read, and so takes memory."""
        return self.adapter is not None and name in self.adapter.edits

    def _stored(self, name: str) -> Tensor:
        if self.is_whole:
            return self._read_whole(name)
        return _tensor(self.places[name]).to(self.dtype)

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
            model, _ = split_adapter(self.reference)
            loaded = load_model(model, named.get(self.dtype))
            self._whole |= loaded.state_dict()
        return self._whole[name]


def open_checkpoints(references: Sequence[str], dtype: str | None) -> dict[str, Checkpoint]:
    """Open several; those with adapters on one model share all that is the model's.

    Args:
        references: folders, hub ids or `model+adapter`.
        dtype: as in `open_checkpoint`.

    Raises:
        UserError: as in `open_checkpoint`.
    """
    parts = {reference: split_adapter(reference) for reference in references}
    models = {m: open_checkpoint(m, dtype) for m in dict.fromkeys(m for m, _ in parts.values())}
    return {
        reference: models[model] if adapter is None else _with_adapter(models[model], reference)
        for reference, (model, adapter) in parts.items()
    }


def _with_adapter(checkpoint: Checkpoint, reference: str) -> Checkpoint:
    """The same model, with an adapter on it."""
    return replace(
        checkpoint, reference=reference, adapter=open_adapter(reference, checkpoint.model)
    )


def open_checkpoint(reference: str, dtype: str | None) -> Checkpoint:
    """Find out what a checkpoint holds, and that it holds the whole model; nothing is loaded.

    Args:
        reference: a folder or a hub id; adapters are put on by `open_checkpoints`.
        dtype: a key of `DTYPES`, or None for the checkpoint's own.

    Raises:
        UserError: parameters have other shapes on disk, are not stored in floating point, or are
            tied but stored twice with different values; or the files hold further layers.
    """
    model = empty_model(reference)
    unknown: dict[str, str] = {}
    places = disk_places(model_folder(reference), model, unknown)
    _check_unknown(reference, unknown, model)
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
    _check_ties(reference, places, parameters)
    stored = {id(parameters[name]) for name in places if name in parameters}  # ties count once
    missing = [name for name, parameter in parameters.items() if id(parameter) not in stored]
    chosen = DTYPES[dtype] if dtype else _own_dtype(model, places)
    tied = {} if missing else _tied(places, parameters)
    return Checkpoint(reference, model, chosen, tied, unknown=tuple(unknown.values()))


def _check_unknown(reference: str, unknown: Mapping[str, str], model: nn.Module) -> None:
    """Refuse tensors that would lie in a stack of the model: layers that its config leaves out."""
    stacks = [f"{n}." for n, part in model.named_modules() if isinstance(part, nn.ModuleList)]
    further = [key for name, key in unknown.items() if name.startswith(tuple(stacks))]
    if further:
        raise UserError(
            f"{reference}: config.json must describe what the files hold, but they hold "
            f"{len(further)} tensors of further layers: {further[0]!r:.80}; mend its number of "
            "layers."
        )


def _check_dtype(reference: str, place: Place) -> None:
    if place.dtype not in _TORCH:
        raise UserError(
            f"{reference}: {place.key} must be stored as one of {', '.join(_TORCH)}, but is "
            f"{place.dtype}; dequantise the model first."
        )


def _check_ties(
    reference: str, places: Mapping[str, Place], parameters: Mapping[str, nn.Parameter]
) -> None:
    """What the config ties must be one tensor, or two equal ones."""
    first: dict[int, Place] = {}
    for name in (name for name in places if name in parameters):
        place = places[name]
        known = first.setdefault(id(parameters[name]), place)
        if known is not place and not torch.equal(_tensor(known), _tensor(place)):
            raise UserError(
                f"{reference}: config.json ties {known.key} to {place.key}, but they are stored "
                "with different values; set tie_word_embeddings to false, or mend the weights."
            )


def _tensor(place: Place) -> Tensor:
    with safe_open(place.path, "pt") as file:
        tensor: Tensor = file.get_tensor(place.key)
    return tensor


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
