"""On which devices the live model and its sources will lie, decided before anything is loaded."""

from collections.abc import Collection, Mapping

import torch

from merge_ops.holding import zeros_needed
from merge_ops.loading import DTYPES
from merge_ops.memory import free_memory
from merge_ops.opening import Opened
from merge_ops.plan import Item, Plan, plan_memory
from merge_ops.recipe import Recipe
from merge_ops.references import short_name
from merge_ops.rewriting import find_method
from merge_ops.runtime import Runtime
from merge_ops.shards import HOST, Shards, on_one, shard
from merge_ops.spectral import precise_dtype
from merge_ops.working_sets import fisher_gradients, solving

_PINNABLE = 0.8
"""Share of the free host memory that may be pinned; the rest stays for files and the process."""

_RANKS = 0.1
"""Ranks of magnitudes take at most about this share of the task vectors they rank."""


def place_model(opened: Opened, recipe: Recipe, runtime: Runtime, solutions: int) -> Shards:
    """Decide on which devices the live model will lie: on one, unless it is to be spread.

    On each, room is left for what the plan must put beside its part of the live model.

    Raises:
        UserError: it is to be spread, and does not fit all devices and main memory together.
    """
    device = runtime.place()
    if runtime.shard and device.type != "cuda":
        runtime.report(f"shard: a model is spread over GPUs; {device} holds it whole")
    if not runtime.shard or device.type != "cuda":
        return on_one(device)
    accelerators = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    beside = 1 + solutions * any(find_method(name).traits.solve for name in recipe.methods())
    copies = _copies(recipe, opened.numels)
    free = {d: max(0, runtime.usable(d) - copies) // beside for d in (*accelerators, HOST)}
    return shard(opened.target.model, _live_dtype(opened, recipe), free)


def plan_devices(
    opened: Opened, recipe: Recipe, runtime: Runtime, solutions: int, shards: Shards
) -> dict[torch.device, Plan]:
    """A plan for each device that holds a part of the live model.

    Raises:
        UserError: a device cannot hold its part of the live model; the numbers are given.
    """
    terms = opened, recipe, runtime, solutions, shards
    return {device: plan_models(*terms, device) for device in shards.devices()}


def plan_models(
    opened: Opened,
    recipe: Recipe,
    runtime: Runtime,
    solutions: int = 1,
    shards: Shards | None = None,
    device: torch.device | None = None,
) -> Plan:
    """Decide where the models will lie; the movable items are `opened.sources`, in order.

    Of a live model on several devices, what belongs to the part on `device`: what is merged there
    lies there.

    Raises:
        UserError: the device cannot hold the live model; the numbers are given.
    """
    device = device or runtime.place()
    shards = shards or on_one(device)
    items = _items(opened, recipe, solutions, shards, device)
    pinnable = 0
    if device.type == "cuda":
        several = len([d for d in shards.devices() if d.type == "cuda"])
        pinnable = int(_PINNABLE * free_memory(HOST)) // several
    return plan_memory(items, str(device), runtime.usable(device), pinnable)


def _items(
    opened: Opened, recipe: Recipe, solutions: int, shards: Shards, device: torch.device
) -> list[Item]:
    """What takes memory on a device, by the parameters that lie there; the base comes first."""
    target, traits = opened.target, find_method(recipe.method).traits
    itemsize = _live_dtype(opened, recipe).itemsize
    live = [p for n, p in target.model.named_parameters() if shards.home(n) == device]
    here = {
        name: count
        for name, count in opened.numels.items()
        if shards.home(opened.own_name(target.reference, name)) == device
    }
    sizes = {reference: opened.size(reference, here) for reference in opened.sources}
    part = "live model" if len(shards.devices()) == 1 else "part of the live model"
    items = [
        Item(part, sum(p.numel() for p in live) * itemsize),
        Item("float32 copies of one tensor", _copies(recipe, here)),
    ]
    wholes = [opened.checkpoints[ref] for ref in opened.sources]
    if device.type == "cpu" and any(checkpoint.is_whole for checkpoint in wholes):
        read = max(checkpoint.bytes() for checkpoint in wholes if checkpoint.is_whole)
        items.append(Item("a checkpoint read whole, on loading", read))
    if any(find_method(name).traits.solve for name in recipe.methods()):
        count = f" x {solutions}" if solutions > 1 else ""
        fewer = "fewer choices" if solutions > 1 else ""
        size = solutions * max(sizes.values(), default=0)
        items.append(Item(f"solved task vectors{count}", size, fewer=fewer))
        items.append(solving(opened, recipe, here, precise_dtype(device).itemsize))
    if traits.statistics == "fishers" and recipe.statistics is None:  # so they are collected
        items.append(fisher_gradients(opened, here, itemsize))
    if traits.kept and device.type == "cpu":
        items.append(Item("ranks of magnitudes", int(_RANKS * sum(sizes.values()))))
    base = recipe.base_model if traits.operands == "task_vectors" else None
    items += [item for item in _adapter_items(opened, base, device, here) if item.size]
    for reference, size in sizes.items():
        role = "base" if reference == recipe.base_model else "expert"
        stays = not opened.checkpoints[reference].is_whole
        computed = opened.checkpoints[reference].adapter is not None
        what = f"{role} {short_name(reference)}"
        items.append(Item(what, size, movable=True, computed=computed, mappable=stays))
    return items


def _copies(recipe: Recipe, numels: Mapping[str, int]) -> int:
    """Bytes of the working set for the largest tensor."""
    return 4 * max(numels.values(), default=0) * (len(recipe.models) + 2)


def _adapter_items(
    opened: Opened, base: str | None, device: torch.device, here: Collection[str]
) -> list[Item]:
    """What adapters need beside the tensors that they change."""
    found = []
    if base is not None:
        zeros = zeros_needed(opened, base, here) * opened.checkpoints[base].dtype.itemsize
        found.append(Item("zeros for what adapters leave", zeros))
    if device.type == "cpu":  # elsewhere they are computed in main memory
        sources = [opened.checkpoints[reference] for reference in opened.sources]
        kept = sum(checkpoint.dtype.itemsize for checkpoint in sources if checkpoint.adapter)
        found.append(Item("one tensor of each adapter", opened.largest_computed() * (4 + kept)))
    return found


def _live_dtype(opened: Opened, recipe: Recipe) -> torch.dtype:
    return DTYPES[recipe.out_dtype] if recipe.out_dtype else opened.target.dtype
