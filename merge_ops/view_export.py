"""Writing the masks and rescalers of all views beside an exported unified model."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from merge_ops.bits import pack
from merge_ops.disk_names import disk_names, disk_places
from merge_ops.errors import UserError
from merge_ops.hub import weights_sha256
from merge_ops.loading import DTYPES
from merge_ops.methods.emr import emr, unified, view
from merge_ops.recipe import Recipe
from merge_ops.registry import get_op
from merge_ops.resident import ResidentModel
from merge_ops.task_vectors import task_vectors
from merge_ops.view_files import KIND, MASKS_FILE, VERSION


def write_views(resident: ResidentModel, recipe: Recipe, folder: Path) -> Path:
    """Write the masks and rescalers of every task beside an exported unified model.

    `merge_ops.view_files` says what the file holds.

    Args:
        resident: the models of the recipe.
        recipe: with views.
        folder: holds the checkpoint already.

    Raises:
        UserError: the method is not emr, or a tensor's exported dtype is too coarse to give tau_u
            back.
    """
    op = get_op(recipe.method)
    if op.fn is not emr:
        raise UserError(
            f"{op.name}: masks and rescalers are exported for emr alone; write one view by --task."
        )
    models = [recipe.models[i].model for i in recipe.experts(op)]
    places = [models.index(model) for model in recipe.tasks.values()]
    stored = disk_names(disk_places(folder, resident.module))
    parameters = dict(resident.module.named_parameters())
    tensors: dict[str, Tensor] = {}
    for name, base, experts in resident.inputs(recipe):
        _check_dtype(name, parameters[name].dtype, base.dtype)
        if base.shape != parameters[name].shape:
            raise UserError(
                f"{name}: views are exported of whole tensors, but only {len(base)} rows are "
                f"merged of {len(parameters[name])}, where the tokenizers agree; add embed_tokens "
                "and lm_head to mergetuna.exclude, or write one view by --task."
            )
        taus = task_vectors(base, experts)
        whole = unified(taus)
        for i, place in enumerate(places):
            mask, rescaler = view(taus[place], whole)
            key = f"{i}.{stored.get(name, name)}"
            tensors[f"mask.{key}"] = pack(mask)
            tensors[f"rescaler.{key}"] = rescaler.cpu()
    metadata = {
        "format": "pt",
        "kind": KIND,
        "version": VERSION,
        "bit_order": "little",
        "tasks": json.dumps(list(recipe.tasks)),
        "dtype": recipe.dtype or "",
        "base_sha256": weights_sha256(recipe.base_model or ""),
    }
    save_file(tensors, folder / MASKS_FILE, metadata=metadata)
    return folder / MASKS_FILE


def check_dtypes(recipe: Recipe) -> None:
    """Refuse a recipe whose unified model could not give tau_u back, before any work is done.

    Raises:
        UserError: `out_dtype` is coarser than `dtype`.
    """
    if recipe.dtype and recipe.out_dtype:
        _check_dtype("out_dtype", DTYPES[recipe.out_dtype], DTYPES[recipe.dtype])


def _check_dtype(name: str, written: torch.dtype, merged: torch.dtype) -> None:
    if torch.promote_types(written, merged) != written:
        raise UserError(
            f"{name}: views are rebuilt from the unified model, which must keep the dtype of the "
            f"merge, {merged}, but would be written in {written}. Leave out --dtype (and "
            "out_dtype), or write one view by --task."
        )
