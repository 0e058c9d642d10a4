"""Bringing a target, its base and its experts to a device, by a plan that is made first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from merge_ops.engine import Engine
from merge_ops.kernels import Kernels, Mode
from merge_ops.loading import DTYPES, load_model, load_score_head
from merge_ops.memory import free_memory
from merge_ops.opening import Opened, open_models
from merge_ops.plan import Item, Place, Plan, plan_memory
from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel
from merge_ops.rewriting import find_method
from merge_ops.sources import Held, Read, Sources, difference

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
        memory: bytes of the device that may be used, or None for what is free.
        report: is told the plan, and whatever takes long.
    """

    device: str = "cpu"
    attention: str | None = None
    image_backend: str | None = None
    kernels: Mode = "auto"
    memory: int | None = None
    report: Callable[[str], None] = lambda _: None


def load_resident(
    recipe: Recipe, runtime: Runtime, *, also: Sequence[str] = (), solutions: int = 1
) -> ResidentModel:
    """Load a target and all models of `recipe` (and those named in `also`) as the plan says.

    Args:
        recipe: gives the models, dtypes, exclusions, reward head and template, and the method
            that the models are kept ready for; it is not applied.
        runtime: where the live model runs.
        also: references of further models that later recipes will name.
        solutions: how many task vectors a method that solves them will keep of each tensor.

    Raises:
        UserError: a model cannot be loaded, or does not fit the target, or the live model does
            not fit the device.
    """
    opened = open_models(recipe, also)
    plan = plan_models(opened, recipe, runtime, solutions)
    runtime.report(plan.text())
    device = torch.device(runtime.device)
    module = load_model(recipe.kept_from(), recipe.dtype, attention=runtime.attention)
    _fill_towers(module, opened, runtime.report)
    _bring(module, device, DTYPES[recipe.out_dtype] if recipe.out_dtype else None)
    head = load_score_head(recipe.reward_head) if recipe.reward_head else None
    if head is not None:
        head = head.to(device=device, dtype=next(module.parameters()).dtype)
    sources = Sources(_hold(opened, plan, recipe, device), device)
    lost, held = sources.rounded()
    if lost:
        runtime.report(f"task vectors: {lost:,} of {held:,} entries are rounded to their dtype")
    kernels = Kernels(runtime.kernels, sum(opened.numels.values()), report=runtime.report)
    engine = Engine(sources, kernels)
    return ResidentModel(module, head, opened, engine, recipe, runtime.image_backend)


def plan_models(opened: Opened, recipe: Recipe, runtime: Runtime, solutions: int = 1) -> Plan:
    """Decide where the models will lie; the movable items are `opened.sources`, in order.

    Raises:
        UserError: the device cannot hold the live model; the numbers are given.
    """
    device = torch.device(runtime.device)
    traits = find_method(recipe.method).traits
    dtype = DTYPES[recipe.out_dtype] if recipe.out_dtype else opened.target.dtype
    live = sum(p.numel() for p in opened.target.model.parameters()) * dtype.itemsize
    largest = max(opened.numels.values(), default=0)
    sizes = {reference: opened.size(reference) for reference in opened.sources}
    items = [
        Item("live model", live),
        Item("float32 copies of one tensor", 4 * largest * (len(recipe.models) + 2)),
    ]
    if traits.solve:
        count = f" x {solutions}" if solutions > 1 else ""
        fewer = "fewer choices" if solutions > 1 else ""
        size = solutions * max(sizes.values(), default=0)
        items.append(Item(f"solved task vectors{count}", size, fewer=fewer))
    if traits.kept and device.type == "cpu":
        items.append(Item("ranks of magnitudes", int(_RANKS * sum(sizes.values()))))
    for reference, size in sizes.items():
        role = "base" if reference == recipe.base_model else "expert"
        items.append(Item(f"{role} {Path(reference).name}", size, movable=True))
    free = free_memory(device)
    pinnable = 0
    if device.type == "cuda":
        pinnable = int(_PINNABLE * free_memory(torch.device("cpu")))
    usable = free if runtime.memory is None else min(free, runtime.memory)
    return plan_memory(items, str(device), usable, pinnable)


def _hold(
    opened: Opened, plan: Plan, recipe: Recipe, device: torch.device
) -> dict[str, Mapping[str, Held | Read]]:
    """The models beside the live one, where the plan has put them; the base comes first."""
    movable = [p for item, p in zip(plan.items, plan.places, strict=True) if item.movable]
    places = dict(zip(opened.sources, movable, strict=True))
    base = recipe.base_model
    wants_task_vectors = find_method(recipe.method).traits.operands == "task_vectors"
    held: dict[str, Mapping[str, Held | Read]] = {}
    for reference in sorted(opened.sources, key=lambda r: r != base):
        checkpoint, place = opened.checkpoints[reference], places[reference]
        readers: dict[str, Read] = {
            name: partial(checkpoint.read, opened.own_name(reference, name))
            for name in opened.numels
        }
        if place == "mapped":
            held[reference] = readers
        elif base is None or base == reference or not wants_task_vectors:
            held[reference] = {n: Held(_put(read(), device, place)) for n, read in readers.items()}
        else:
            held[reference] = {
                name: _difference(read(), held[base][name], base, device, place)
                for name, read in readers.items()
            }
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


def _fill_towers(module: nn.Module, opened: Opened, report: Callable[[str], None]) -> None:
    """Put other models' towers in the place of the target's, once and for all candidates."""
    state = module.state_dict()  # shares memory with the model
    for name, tensor in opened.lend():
        state[name].copy_(tensor)
    for lent in opened.lent:
        report(f"tower {lent.tower.path}: {len(lent.fit)} tensors from {Path(lent.owner).name}")


def _bring(module: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
    """Move a model; parameters take the dtype, and buffers keep theirs.

    Rotary frequencies are buffers: in half precision they would turn by wrong angles.
    """
    module.to(device)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype or parameter.dtype)


def _put(tensor: Tensor, device: torch.device, place: Place) -> Tensor:
    """A copy that belongs to no file, on the device or in pinned host memory."""
    if place == "pinned":
        return tensor.cpu().pin_memory()
    moved = tensor.to(device)
    return moved.clone() if moved is tensor and device.type == "cpu" else moved
