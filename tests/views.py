"""A recipe of EMR over tiny models, and what it makes of them."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from merge_ops.recipe import Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime

ODD = "größe: #1 / {x} 'ü' .. mask.0.y"


def recipe_of(models: dict[str, str], **changes: object) -> Recipe:
    recipe = Recipe(
        "emr",
        (Source(models["a"]), Source(models["b"])),
        models["base"],
        dtype="float32",
        target=models["base"],
        tasks={"first": models["a"], ODD: models["b"]},
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def live(recipe: Recipe) -> dict[str, Tensor]:
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return {n: p.detach().clone() for n, p in resident.module.named_parameters()}


def weights_of(folder: str) -> dict[str, Tensor]:
    return dict(load_file(Path(folder) / "model.safetensors"))
