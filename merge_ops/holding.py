"""Bringing the models beside the live one to where a plan has put them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from merge_ops.opening import Opened
from merge_ops.plan import Place, Plan
from merge_ops.recipe import Recipe
from merge_ops.rewriting import find_method
from merge_ops.sources import Held, Read, difference


def hold_models(
    opened: Opened,
    plans: Mapping[torch.device, Plan],
    recipe: Recipe,
    homes: Mapping[str, torch.device],
) -> dict[str, Mapping[str, Held | Read]]:
    """Base and experts by reference and tensor, as weights or task vectors; the base comes first.

    Args:
        opened: the models.
        plans: by device; the movable items of each are `opened.sources`, in order.
        recipe: of the method that they are kept ready for.
        homes: the device that each tensor is merged on.
    """
    places: dict[tuple[str, torch.device], Place] = {}
    for device, plan in plans.items():
        movable = [p for item, p in zip(plan.items, plan.places, strict=True) if item.movable]
        places |= {(ref, device): p for ref, p in zip(opened.sources, movable, strict=True)}
    base = recipe.base_model
    wants_task_vectors = find_method(recipe.method).traits.operands == "task_vectors"
    held: dict[str, Mapping[str, Held | Read]] = {}
    for reference in sorted(opened.sources, key=lambda r: r != base):
        checkpoint = opened.checkpoints[reference]
        tau_of = None if base == reference or not wants_task_vectors else base
        own: dict[str, Held | Read] = {}
        for name, device in homes.items():
            read = partial(checkpoint.read, opened.own_name(reference, name))
            place = places[reference, device]
            if place == "mapped":
                own[name] = read
            elif tau_of is None:
                own[name] = Held(_put(read(), device, place))
            else:
                own[name] = _difference(read(), held[tau_of][name], tau_of, device, place)
        held[reference] = own
        checkpoint.release()
    return held


def _difference(
    weights: Tensor, against: Held | Read, base: str, device: torch.device, place: Place
) -> Held:
    start = (against.tensor if isinstance(against, Held) else against()).to(device)
    there = weights.to(device)
    found = difference(there, start, base)
    if found.tensor is there or place == "pinned":
        return replace(found, tensor=_put(found.tensor, device, place))
    return found


def _put(tensor: Tensor, device: torch.device, place: Place) -> Tensor:
    """A copy that belongs to no file, on the device or in pinned host memory."""
    if place == "pinned":
        return tensor.cpu().pin_memory()
    moved = tensor.to(device)
    return moved.clone() if moved is tensor and device.type == "cpu" else moved
