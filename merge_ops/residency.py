"""Bringing a target, its base and its experts to a device, by a plan that is made first."""

from collections.abc import Callable, Sequence
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
    plan = plan_models(opened, recipe, runtime, solutions)
    for note in opened.notes():
        runtime.report(f"note: {note}")
    for line in (plan.text(), *opened.vocabulary):
        runtime.report(line)
    device = torch.device(runtime.device)
    module = load_model(recipe.kept_from(), recipe.dtype, attention=runtime.attention)
    _bring(module, device, DTYPES[recipe.out_dtype] if recipe.out_dtype else None)
    head = load_score_head(recipe.reward_head) if recipe.reward_head else None
    if head is not None:
        head = head.to(device=device, dtype=next(module.parameters()).dtype)
    sources = hold(opened, plan, recipe, device)
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
    base = recipe.base_model if traits.operands == "task_vectors" else None
    items += [item for item in _adapter_items(opened, base, device) if item.size]
    for reference, size in sizes.items():
        role = "base" if reference == recipe.base_model else "expert"
        computed = opened.checkpoints[reference].adapter is not None
        what = f"{role} {short_name(reference)}"
        items.append(Item(what, size, movable=True, computed=computed))
    free = free_memory(device)
    pinnable = 0
    if device.type == "cuda":
        pinnable = int(_PINNABLE * free_memory(torch.device("cpu")))
    usable = free if runtime.memory is None else min(free, runtime.memory)
    return plan_memory(items, str(device), usable, pinnable)


def _adapter_items(opened: Opened, base: str | None, device: torch.device) -> list[Item]:
    """What adapters need beside the tensors that they change."""
    found = []
    if base is not None:
        zeros = zeros_needed(opened, base) * opened.checkpoints[base].dtype.itemsize
        found.append(Item("zeros for what adapters leave", zeros))
    if device.type == "cpu":  # elsewhere they are computed in main memory
        sources = [opened.checkpoints[reference] for reference in opened.sources]
        kept = sum(checkpoint.dtype.itemsize for checkpoint in sources if checkpoint.adapter)
        found.append(Item("one tensor of each adapter", opened.largest_computed() * (4 + kept)))
    return found


def _bring(module: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
    """Move a model; parameters take the dtype, and buffers keep theirs.

    Rotary frequencies are buffers: in half precision they would turn by wrong angles.
    """
    module.to(device)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype or parameter.dtype)
