"""Bringing a target, its base and its experts onto one device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from merge_ops.disk_names import disk_names
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import DTYPES, load_model, load_score_head
from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel
from merge_ops.tensors import SharedTensors, share


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how the live model runs.

    Attributes:
        device: a torch device, such as "cpu" or "cuda:0".
        attention: transformers' `attn_implementation`, or None for its default.
        image_backend: "pil" or "torchvision", or None for transformers' choice.
    """

    device: str = "cpu"
    attention: str | None = None
    image_backend: str | None = None


def load_resident(recipe: Recipe, runtime: Runtime, *, also: Sequence[str] = ()) -> ResidentModel:
    """Load a target and all models of `recipe` (and those named in `also`) onto one device.

    Args:
        recipe: gives the models, dtypes, exclusions, reward head and template; it is not applied.
        runtime: where the live model runs.
        also: references of further models that later recipes will name.

    Raises:
        UserError: a model cannot be loaded, or does not fit the target.
    """
    reference = recipe.kept_from()
    named = [recipe.base_model, *(m.model for m in recipe.models), *also]
    models = {reference: load_model(reference, recipe.dtype, attention=runtime.attention)}
    for ref in named:
        if ref and ref not in models:
            models[ref] = load_model(ref, recipe.dtype)
    disk = disk_names(model_folder(reference), models[reference])
    shared = share(list(models.values()), disk)
    _check_shapes(shared, recipe)
    sources = {
        ref: _take(model, shared, names, recipe, runtime.device)
        for (ref, model), names in zip(models.items(), shared.names, strict=True)
        if ref in named
    }
    module = models[reference]
    del models
    out = recipe.out_dtype or recipe.dtype
    module = module.to(device=runtime.device, dtype=DTYPES[out] if out else None)
    head = load_score_head(recipe.reward_head) if recipe.reward_head else None
    if head is not None:
        head = head.to(device=runtime.device, dtype=next(module.parameters()).dtype)
    return ResidentModel(module, head, shared, sources, recipe, runtime.image_backend)


def _check_shapes(shared: SharedTensors, recipe: Recipe) -> None:
    for name, shapes in shared.misfits.items():
        if not recipe.excludes(name):
            raise UserError(
                f"{name} must have one shape in all models, but is {shapes}; "
                "add it to mergetuna.exclude to keep the target's."
            )


def _take(
    model: nn.Module,
    shared: SharedTensors,
    names: Mapping[str, str],
    recipe: Recipe,
    device: str,
) -> dict[str, Tensor]:
    """Copies of the tensors that will be merged, on the device, by canonical name."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {
        tensor.name: parameters[names[tensor.name]].detach().clone().to(device)
        for tensor in shared.tensors
        if not recipe.excludes(tensor.name)
    }
