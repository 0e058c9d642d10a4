"""A candidate as a normal Hugging Face folder that plain transformers loads."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from merge_ops.atomic import check_free, check_space, new_folder
from merge_ops.checkpoint import Checkpoint, open_checkpoint
from merge_ops.errors import UserError
from merge_ops.layout import Layout
from merge_ops.live_tensors import whole_state
from merge_ops.loading import DTYPES, HEAD_FILE
from merge_ops.lowering import lower_recipe, needs_target
from merge_ops.overwriting import harm
from merge_ops.recipe import Recipe
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.view_export import check_dtypes, write_views
from merge_ops.view_recipes import view_of
from studies.console import warn
from studies.model_card import model_card
from studies.processor_files import processor_files, with_template, write_processor
from studies.provenance import vocabulary_note, with_commits
from studies.reward_code import check_reward_code, name_code, write_reward_code

SHARD_SIZE = "50GB"
"""Of the largest weight file, as transformers' `max_shard_size`, whose default it is."""


def export(
    resident: ResidentModel,
    recipe: Recipe,
    out: Path,
    *,
    shard_size: str = SHARD_SIZE,
    reward_code: bool = False,
    overwrite: bool = False,
) -> None:
    """Write the live model, which must have become `recipe`, to the folder `out`.

    The folder holds configs, weights in shards with their index (tensors named as the target's
    files name them, tied ones once), tokenizer or processor, chat template, `recipe.yaml` and a
    model card; a reward model also `reward_head.safetensors` with `score.weight` of shape (1,
    hidden size); a recipe with views the unified model, and `emr_masks.safetensors`. It appears
    under its name only when it is whole.

    Args:
        resident: the live model.
        recipe: what it has become.
        out: the folder.
        shard_size: of the largest weight file: "5GB", "200MB"; on an accelerator a shard passes
            through main memory.
        reward_code: write `modeling_reward.py`, so that one line of transformers loads the reward
            model; see `studies.reward_code`.
        overwrite: replace `out` if it exists.

    Raises:
        UserError: `out` exists and is not empty, and `overwrite` is not set; the disk is full or
            refuses otherwise; the dtype is too coarse for views; or there is no reward model that
            code can be written for.
    """
    if reward_code:
        if resident.score_head is None:
            raise UserError("--reward-code needs a recipe with a `reward_head`, but it has none.")
        check_reward_code(resident.module)
    try:
        with new_folder(out, overwrite=overwrite) as scratch:
            _write_model(resident, scratch, shard_size)
            if resident.score_head is not None and reward_code:
                write_reward_code(resident.module, resident.score_head, scratch)
            write_processor(resident, recipe, scratch)
            if recipe.has_views():
                write_views(resident, recipe, scratch)
            recipe = with_template(recipe, scratch)
            write_recipe(recipe, scratch / "recipe.yaml")
            card = model_card(resident, recipe, scratch)
            (scratch / "README.md").write_text(card, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{out}: the checkpoint could not be written: {error}. Nothing of it is left behind."
        ) from None


def build_checkpoint(
    path: Path,
    out: Path,
    *,
    runtime: Runtime | None = None,
    dtype: str | None = None,
    task: str | None = None,
    shard_size: str = SHARD_SIZE,
    reward_code: bool = False,
    overwrite: bool = False,
) -> tuple[Recipe, int]:
    """Build the model of a recipe file; returns the recipe and how many tensors were merged.

    Args:
        path: the recipe.
        out: folder of the checkpoint.
        runtime: where to compute; the CPU if left out.
        dtype: of the written weights; None for the recipe's.
        task: whose view to write as a plain checkpoint, of a recipe with views; None for the
            unified model with all masks.
        shard_size: as for `export`.
        reward_code: as for `export`.
        overwrite: replace `out` if it exists.

    Raises:
        UserError: the recipe or a model cannot be read, `out` exists or is one of the models, the
            disk is too small, or there is no such task.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}.")
    _check_shard_size(shard_size)
    notes: list[str] = []
    recipe = read_recipe(path, notes)
    for note in notes:
        warn(f"note: {note}")
    if task is not None:
        recipe = view_of(recipe, task)
    if dtype is not None:
        recipe = replace(recipe, out_dtype=dtype)
    if recipe.has_views():
        check_dtypes(recipe)
    _check_out(recipe, path, out, reward_code=reward_code, overwrite=overwrite)
    resident = load_resident(recipe, runtime or Runtime(report=warn), also=needs_target(recipe))
    layout = Layout(resident.layers, tuple(resident.merged_names))
    recipe = lower_recipe(recipe, layout, path)
    recipe = replace(recipe, provenance={**recipe.provenance, **vocabulary_note(resident)})
    resident.become(recipe)
    recipe = with_commits(recipe)
    export(
        resident,
        recipe,
        out,
        shard_size=shard_size,
        reward_code=reward_code,
        overwrite=overwrite,
    )
    return recipe, len(resident.merged_names)


def check_models(recipe: Recipe, out: Path) -> None:
    """Refuse a folder that is one of the recipe's models.

    Raises:
        UserError: it is.
    """
    if str(out.resolve()) in recipe.references():
        raise UserError(
            f"{out} is a model of this recipe and would be lost; choose another folder."
        )


def _check_shard_size(text: str) -> None:
    from huggingface_hub.serialization._base import parse_size_to_int  # what transformers calls

    try:
        size = parse_size_to_int(text)
    except ValueError:
        size = 0
    if size <= 0:
        raise UserError(f"--shard-size must be like 5GB or 200MB, but got {text!r}.")


def _check_out(
    recipe: Recipe, path: Path, out: Path, *, reward_code: bool, overwrite: bool
) -> None:
    """Refuse what would fail, or do harm, once the model is computed."""
    read = [path, *(Path(name) for name in (recipe.template,) if Path(name).is_absolute())]
    read += [Path(recipe.statistics.path)] if recipe.statistics else []
    lost = harm(out, read, [*recipe.references(), *recipe.tasks.values()])
    if lost is not None:
        raise UserError(f"--out {out}: {lost}; choose another folder.")
    check_free(out, overwrite=overwrite)
    target = open_checkpoint(recipe.kept_from(), recipe.dtype)
    if reward_code and recipe.reward_head:
        check_reward_code(target.model)
    check_space(out, _size(recipe, target))


def _size(recipe: Recipe, target: Checkpoint) -> int:
    """Bytes that will be written, nearly: weights, masks of views, processor files."""
    dtype = DTYPES[recipe.out_dtype] if recipe.out_dtype else target.dtype
    count = sum(parameter.numel() for parameter in target.model.parameters())  # tied ones once
    masks = count // 8 * len(recipe.tasks) if recipe.has_views() else 0
    files = sum(path.stat().st_size for path in processor_files(recipe).values())
    return count * dtype.itemsize + masks + files


def _write_model(resident: ResidentModel, folder: Path, shard_size: str) -> None:
    """Configs, weights and score head."""
    module: Any = resident.module
    state = whole_state(module)  # offloaded weights too
    with warnings.catch_warnings():  # of the memory that offloaded weights take: they are here
        warnings.filterwarnings("ignore", message="Attempting to save a model with offloaded")
        module.save_pretrained(folder, state_dict=state, max_shard_size=shard_size)
    name_code(folder, {})  # what the target names is not copied
    if resident.score_head is not None:
        tensors = resident.score_head.state_dict()
        save_file(
            {f"score.{k}": v.contiguous().cpu() for k, v in tensors.items()},
            folder / HEAD_FILE,
            metadata={"format": "pt"},
        )
