"""The file of masks beside an exported unified model: one bit an entry, one rescaler a tensor."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from merge_ops.bits import pack, unpack
from merge_ops.disk_names import disk_names
from merge_ops.errors import UserError, did_you_mean
from merge_ops.hub import weights_sha256
from merge_ops.loading import DTYPES
from merge_ops.methods.emr import unified, view
from merge_ops.recipe import Recipe
from merge_ops.registry import get_op
from merge_ops.resident import ResidentModel
from merge_ops.task_vectors import task_vectors

MASKS_FILE = "emr_masks.safetensors"
_KIND, _VERSION = "emr_views", "1"


def write_views(resident: ResidentModel, recipe: Recipe, folder: Path) -> Path:
    """Write the masks and rescalers of every task beside an exported unified model.

    The file holds, for task number i and each merged tensor by its name in the checkpoint,
    `mask.<i>.<name>` (uint8, see `pack`) and `rescaler.<i>.<name>` (float32, ()); its metadata
    names the tasks in their order, as JSON, the dtype in which task vectors are taken, and the
    sha256 of the base.

    Args:
        resident: the models of the recipe.
        recipe: with views.
        folder: holds the checkpoint already.

    Raises:
        UserError: the exported dtype is too coarse to give tau_u back.
    """
    op = get_op(recipe.method)
    models = [recipe.models[i].model for i in recipe.experts(op)]
    places = [models.index(model) for model in recipe.tasks.values()]
    stored = disk_names(folder, resident.module)
    parameters = dict(resident.module.named_parameters())
    tensors: dict[str, Tensor] = {}
    for name, base, experts in resident.inputs(recipe):
        _check_dtype(name, parameters[name].dtype, base.dtype)
        taus = task_vectors(base, experts)
        whole = unified(taus)
        for i, place in enumerate(places):
            mask, rescaler = view(taus[place], whole)
            key = f"{i}.{stored.get(name, name)}"
            tensors[f"mask.{key}"] = pack(mask)
            tensors[f"rescaler.{key}"] = rescaler.cpu()
    metadata = {
        "format": "pt",
        "kind": _KIND,
        "version": _VERSION,
        "bit_order": "little",
        "tasks": json.dumps(list(recipe.tasks)),
        "dtype": recipe.dtype or "",
        "base_sha256": weights_sha256(recipe.base_model or ""),
    }
    save_file(tensors, folder / MASKS_FILE, metadata=metadata)
    return folder / MASKS_FILE


def _check_dtype(name: str, written: torch.dtype, merged: torch.dtype) -> None:
    if torch.promote_types(written, merged) != written:
        raise UserError(
            f"{name}: views are rebuilt from the unified model, which must keep the dtype of the "
            f"merge, {merged}, but would be written in {written}. Leave out --dtype (and "
            "out_dtype), or write one view by --task."
        )


@dataclass(frozen=True, slots=True)
class ViewsFile:
    """The masks beside an exported model, checked but for what only the model can tell.

    Attributes:
        path: of the file.
        tasks: names, in the order of their numbers in the file.
        names: of the merged tensors, as in the checkpoint.
        dtype: in which task vectors are taken, or None for the models' own.
        base_sha256: of the base model.
    """

    path: Path
    tasks: tuple[str, ...]
    names: tuple[str, ...]
    dtype: str | None
    base_sha256: str

    def masks(
        self, task: str, shapes: Mapping[str, torch.Size]
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, mask and rescaler of every merged tensor of one task.

        Args:
            task: one of `tasks`.
            shapes: of the checkpoint's tensors, by name.

        Raises:
            UserError: there is no such task, or a mask or rescaler does not fit; it is named.
        """
        if task not in self.tasks:
            hint = did_you_mean(task, self.tasks)
            raise UserError(
                f"{self.path}: there is no task {task!r}{hint or ';'} it has "
                f"{', '.join(self.tasks)}."
            )
        number = self.tasks.index(task)
        with safe_open(self.path, "pt") as file:
            for name in self.names:
                if name not in shapes:
                    raise UserError(f"{self.path}: {name} is no tensor of the model beside it.")
                bits = file.get_tensor(f"mask.{number}.{name}")
                rescaler = file.get_tensor(f"rescaler.{number}.{name}")
                _check_mask(self.path, name, bits, shapes[name])
                _check_rescaler(self.path, name, rescaler)
                yield name, unpack(bits, shapes[name]), rescaler


def read_views(path: Path) -> ViewsFile:
    """Open a file of masks; it may come from a stranger.

    Raises:
        UserError: it is missing, damaged or incomplete.
    """
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            keys = set(file.keys())
    except FileNotFoundError:
        raise UserError(
            f"{path}: there is no such file; the export of an emr recipe with tasks holds it."
        ) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: the file is damaged or no safetensors file: {error}") from None
    if (about.get("kind"), about.get("version")) != (_KIND, _VERSION):
        raise UserError(f"{path}: must hold EMR masks of version {_VERSION}, but does not say so.")
    tasks = _tasks(path, about.get("tasks", ""))
    names = sorted(key.removeprefix("mask.0.") for key in keys if key.startswith("mask.0."))
    wanted = {
        f"{part}.{i}.{name}"
        for part in ("mask", "rescaler")
        for i in range(len(tasks))
        for name in names
    }
    if keys != wanted or not names:
        odd = sorted(keys ^ wanted)[:3]
        raise UserError(f"{path}: each task needs a mask and a rescaler per tensor; see {odd}.")
    dtype = about.get("dtype") or None
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"{path}: `dtype` must be one of {', '.join(DTYPES)}, but is {dtype!r}.")
    return ViewsFile(path, tasks, tuple(names), dtype, about.get("base_sha256", ""))


def _tasks(path: Path, text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    fits = isinstance(found, list) and all(isinstance(task, str) for task in found)
    if not fits or not found or len(set(found)) < len(found):
        raise UserError(f"{path}: `tasks` must be a JSON list of different names.")
    return tuple(found)


def _check_mask(path: Path, name: str, bits: Tensor, shape: torch.Size) -> None:
    size = (shape.numel() + 7) // 8
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (size,):
        raise UserError(
            f"{path}: the mask of {name} must be {size} bytes, one bit for each entry of "
            f"{tuple(shape)}, but is {tuple(bits.shape)} of {bits.dtype}."
        )
    spare = shape.numel() % 8
    if spare and int(bits[-1]) >> spare:
        raise UserError(f"{path}: the mask of {name} has bits set beyond its last entry.")


def _check_rescaler(path: Path, name: str, rescaler: Tensor) -> None:
    whole = rescaler.dtype == torch.float32 and rescaler.dim() == 0
    if not whole or not bool(rescaler.isfinite() & (rescaler >= 0)):
        raise UserError(
            f"{path}: the rescaler of {name} must be one finite float32, not negative, but is "
            f"{rescaler.tolist()} of {rescaler.dtype}."
        )
