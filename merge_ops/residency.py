"""Bringing a target, its base and its experts to a device, by a plan that is made first."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from merge_ops.engine import Engine
from merge_ops.holding import hold, zeros_needed
from merge_ops.kernels import Kernels, Mode
from merge_ops.loading import DTYPES, load_model, load_score_head
from merge_ops.memory import free_memory
from merge_ops.opening import Opened, open_models
from merge_ops.plan import Item, Plan, plan_memory
from merge_ops.recipe import Recipe
from merge_ops.references import short_name
from merge_ops.resident import ResidentModel
from merge_ops.rewriting import find_method
from merge_ops.shards import HOST, Shards, on_one, shard, spread
from merge_ops.sources import Sources
from merge_ops.spectral import precise_dtype
from merge_ops.working_sets import fisher_gradients, solving

_PINNABLE = 0.8
"""Share of the free host memory that may be pinned; the rest stays for files and the process."""

_RANKS = 0.1
"""Ranks of magnitudes take at most about this share of the task vectors they rank."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how the live model runs.

    Attributes:
        device: a torch device, such as "cpu" or "cuda:0".
        attention: transformers' `attn_implementation`, or None for its default.
        image_backend: "pil" or "torchvision", or None for transformers' choice.
        kernels: whether merge kernels are compiled; see `merge_ops.kernels.Kernels`.
        memory: bytes of each device that may be used, or None for what is free.
        shard: spread the live model over all devices of that kind, and main memory if needed.
        report: is told the plan, and whatever takes long.
    """

    device: str = "cpu"
    attention: str | None = None
    image_backend: str | None = None
    kernels: Mode = "auto"
    memory: int | None = None
    shard: bool = False
    report: Callable[[str], None] = lambda _: None


def load_resident(
    recipe: Recipe,
    runtime: Runtime,
    *,
    also: Sequence[str] = (),
    solutions: int = 1,
    by_id: bool = False,
) -> ResidentModel:
    """Load a target and all models of `recipe` (and those named in `also`) as the plan says.

    Args:
        recipe: gives the models, dtypes, exclusions, reward head and template, and the method
            that the models are kept ready for; it is not applied.
        runtime: where the live model runs.
        also: references of further models that later recipes will name.
        solutions: how many task vectors a method that solves them will keep of each tensor.
        by_id: merge embeddings and head whatever the tokenizers say; see `open_models`.

    Raises:
        UserError: a model cannot be loaded, or does not fit the target, or the live model does
            not fit the device.
    """
    opened = open_models(recipe, also, by_id=by_id)
    shards = place_model(opened, recipe, runtime, solutions)
    plans = plan_devices(opened, recipe, runtime, solutions, shards)
    for note in opened.notes():
        runtime.report(f"note: {note}")
    for line in (*(plan.text() for plan in plans.values()), *opened.vocabulary):
        runtime.report(line)
    module = load_model(recipe.kept_from(), recipe.dtype, attention=runtime.attention)
    _fill_towers(module, opened, runtime.report)
    _convert(module, DTYPES[recipe.out_dtype] if recipe.out_dtype else None)
    spread(module, shards)
    head = load_score_head(recipe.reward_head) if recipe.reward_head else None
    if head is not None:
        head = head.to(device=shards.main, dtype=next(module.parameters()).dtype)
    target = opened.target.reference
    homes = {name: shards.home(opened.own_name(target, name)) for name in opened.numels}
    sources = Sources(hold(opened, plans, recipe, homes), shards.main, homes)
    lost, held = sources.rounded()
    if lost:
        runtime.report(f"task vectors: {lost:,} of {held:,} entries are rounded to their dtype")
    kernels = Kernels(runtime.kernels, sum(opened.numels.values()), report=runtime.report)
    engine = Engine(sources, kernels)
    return ResidentModel(module, head, opened, engine, recipe, runtime.image_backend)


def place_model(opened: Opened, recipe: Recipe, runtime: Runtime, solutions: int) -> Shards:
    """Decide on which devices the live model will lie: on one, unless it is to be spread.

    On each, room is left for what the plan must put beside its part of the live model.

    Raises:
        UserError: it is to be spread, and does not fit all devices and main memory together.
    """
    device = _device(runtime)
    if runtime.shard and device.type != "cuda":
        runtime.report(f"shard: a model is spread over GPUs; {device} holds it whole")
    if not runtime.shard or device.type != "cuda":
        return on_one(device)
    accelerators = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    beside = 1 + solutions * any(find_method(name).traits.solve for name in recipe.methods())
    copies = _copies(recipe, opened.numels)
    free = {d: max(0, _usable(d, runtime) - copies) // beside for d in (*accelerators, HOST)}
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
    device = device or _device(runtime)
    shards = shards or on_one(device)
    items = _items(opened, recipe, solutions, shards, device)
    pinnable = 0
    if device.type == "cuda":
        several = len([d for d in shards.devices() if d.type == "cuda"])
        pinnable = int(_PINNABLE * free_memory(HOST)) // several
    return plan_memory(items, str(device), _usable(device, runtime), pinnable)


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


def _device(runtime: Runtime) -> torch.device:
    """The device by its whole name, as tensors on it have it: "cuda" is the current one."""
    if runtime.device == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(runtime.device)


def _usable(device: torch.device, runtime: Runtime) -> int:
    """Bytes of a device that may be used."""
    free = free_memory(device)
    return free if runtime.memory is None else min(free, runtime.memory)


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


def _fill_towers(module: nn.Module, opened: Opened, report: Callable[[str], None]) -> None:
    """Put other models' towers in the place of the target's, once and for all candidates."""
    state = module.state_dict()  # shares memory with the model
    for name, tensor in opened.lend():
        state[name].copy_(tensor)
    for lent in opened.lent:
        opened.checkpoints[lent.owner].release()
        report(f"tower {lent.tower.path}: {len(lent.fit)} tensors from {short_name(lent.owner)}")


def _convert(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Give parameters the dtype; buffers keep theirs.

    Rotary frequencies are buffers: in half precision they would turn by wrong angles.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype or parameter.dtype)
