"""Reading the models beside the live one to where the plan has put them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from merge_ops.checkpoint import Checkpoint
from merge_ops.opening import Opened
from merge_ops.plan import Place, Plan
from merge_ops.recipe import Recipe
from merge_ops.rewriting import find_method
from merge_ops.sources import Held, Read, difference
from merge_ops.vocabulary import Rows


def hold(
    opened: Opened,
    plans: Mapping[torch.device, Plan],
    recipe: Recipe,
    homes: Mapping[str, torch.device],
) -> dict[str, dict[str, Held | Read]]:
    """Bring every model of a recipe to its place; the base comes first.

    What an adapter leaves as it is in its model is not held again: it is the model's tensor, or,
    where task vectors are taken from that model, part of one row of zeros.

    Args:
        opened: the models.
        plans: by device, as `merge_ops.placement.plan_models` makes them.
        recipe: names the base, and the method that the models are kept ready for.
        homes: the device that each tensor is merged on.

    Returns:
        Base and experts by reference and tensor, as weights or as task vectors.
    """
    places: dict[tuple[str, torch.device], Place] = {}
    for device, plan in plans.items():
        movable = [p for item, p in zip(plan.items, plan.places, strict=True) if item.movable]
        places |= {(ref, device): p for ref, p in zip(opened.sources, movable, strict=True)}
    base = recipe.base_model
    if find_method(recipe.method).traits.operands != "task_vectors":
        base = None
    zeros = {
        device: torch.zeros(zeros_needed(opened, base), dtype=_dtype(opened, base), device=device)
        for device in plans
    }
    held: dict[str, dict[str, Held | Read]] = {}
    for reference in opened.sources:
        held[reference] = {}
        for name, device in homes.items():
            owner = opened.owner(reference, name)
            if owner == reference:
                found = _own(
                    opened, reference, name, base, held, device, places[reference, device]
                )
            elif owner == base:
                found = _unchanged(held[owner][name], owner, zeros[device], device)
            else:
                found = held[owner][name]
            held[reference][name] = found
    for checkpoint in opened.checkpoints.values():
        checkpoint.release()
    return held


def zeros_needed(opened: Opened, base: str | None, names: Collection[str] | None = None) -> int:
    """How many zeros stand for whatever adapters leave as it is in `base`.

    Args:
        opened: the models.
        base: that task vectors are taken from, or None.
        names: of the tensors that count; None for all.
    """
    shared = [
        numel
        for reference in opened.sources
        for name, numel in opened.numels.items()
        if reference != base and opened.owner(reference, name) == base
        if names is None or name in names
    ]
    return max(shared, default=0)


def _dtype(opened: Opened, base: str | None) -> torch.dtype | None:
    return None if base is None else opened.checkpoints[base].dtype


def _own(
    opened: Opened,
    reference: str,
    name: str,
    base: str | None,
    held: Mapping[str, Mapping[str, Held | Read]],
    device: torch.device,
    place: Place,
) -> Held | Read:
    """A tensor that is the model's own: read now, or whenever it is asked for."""
    read = _reader(
        opened.checkpoints[reference], opened.own_name(reference, name), opened.rows.get(name)
    )
    if place == "mapped":
        return read
    if base is None or base == reference:
        return Held(_put(read(), device, place))
    return _difference(read(), held[base][name], base, device, place)


def _reader(checkpoint: Checkpoint, name: str, rows: Rows | None) -> Read:
    """Reads a tensor, or those rows of it that are merged."""
    if rows is None:
        return partial(checkpoint.read, name)
    return lambda: rows.of(checkpoint.read(name)).contiguous()


def _difference(
    weights: Tensor, against: Held | Read, base: str, device: torch.device, place: Place
) -> Held:
    start = _tensor(against).to(device)
    there = weights.to(device)
    found = difference(there, start, base)
    if found.tensor is there or place == "pinned":
        return replace(found, tensor=_put(found.tensor, device, place))
    return found


def _unchanged(held: Held | Read, base: str, zeros: Tensor, device: torch.device) -> Held | Read:
    """The base's own weights as a task vector: zeros; -0.0 + 0.0 is 0.0, and is put right."""
    weights = _tensor(held).to(device)
    found = difference(weights, weights, base)
    if found.base is None:
        return held
    return replace(found, tensor=zeros[: weights.numel()].view(weights.shape))


def _tensor(held: Held | Read) -> Tensor:
    return held.tensor if isinstance(held, Held) else held()


def _put(tensor: Tensor, device: torch.device, place: Place) -> Tensor:
    """A copy that belongs to no file, on the device or in pinned host memory."""
    if place == "pinned":
        return tensor.cpu().pin_memory()
    moved = tensor.to(device)
    return moved.clone() if moved is tensor and device.type == "cpu" else moved
