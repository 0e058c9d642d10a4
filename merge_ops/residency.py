"""Bringing a target, its base and its experts to a device, by a plan that is made first."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from merge_ops.engine import Engine
from merge_ops.holding import hold
from merge_ops.kernels import Kernels
from merge_ops.loading import DTYPES, load_model, load_score_head
from merge_ops.opening import Opened, open_models
from merge_ops.placement import place_model, plan_devices
from merge_ops.recipe import Recipe
from merge_ops.references import short_name
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.shards import spread
from merge_ops.sources import Sources


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
