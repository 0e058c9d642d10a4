"""The file of masks beside an exported unified model: one bit an entry, one rescaler a tensor.

For task number i and each merged tensor by its name in the checkpoint it holds `mask.<i>.<name>`
(uint8, as `merge_ops.bits` packs it) and `rescaler.<i>.<name>` (float32, ()). Its metadata names
the tasks in their order, as JSON, the dtype in which task vectors are taken, and the sha256 of the
base.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from merge_ops.bits import unpack
from merge_ops.errors import UserError, did_you_mean
from merge_ops.loading import DTYPES

MASKS_FILE = "emr_masks.safetensors"
KIND, VERSION = "emr_views", "1"


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
                f"{', '.join(map(repr, self.tasks))}."
            )
        number = self.tasks.index(task)
        with safe_open(self.path, "pt") as file:
            for name in self.names:
                if name not in shapes:
                    raise UserError(
                        f"{self.path}: the model beside it and the base must share {name!r}, but "
                        "do not; the masks are of another model."
                    )
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
    if (about.get("kind"), about.get("version")) != (KIND, VERSION):
        raise UserError(f"{path}: must hold EMR masks of version {VERSION}, but does not say so.")
    tasks = _tasks(path, about.get("tasks", ""))
    names = sorted(key.removeprefix("mask.0.") for key in keys if key.startswith("mask.0."))
    if not names or not _complete(keys, len(tasks), names):
        raise UserError(
            f"{path}: each of {len(tasks)} tasks needs one mask and one rescaler per tensor, but "
            f"there are {len(keys)} entries for {len(names)} tensors; the file is incomplete."
        )
    dtype = about.get("dtype") or None
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"{path}: `dtype` must be one of {', '.join(DTYPES)}, but is {dtype!r}.")
    return ViewsFile(path, tasks, tuple(names), dtype, about.get("base_sha256", ""))


def _complete(keys: Set[str], tasks: int, names: Sequence[str]) -> bool:
    if len(keys) != 2 * tasks * len(names):  # first: a hostile file may promise any number
        return False
    return all(
        f"{part}.{i}.{name}" in keys
        for part in ("mask", "rescaler")
        for i in range(tasks)
        for name in names
    )


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
            f"{path}: the mask of {name!r} must be {size} bytes, one bit for each entry of "
            f"{tuple(shape)}, but is {tuple(bits.shape)} of {bits.dtype}."
        )
    spare = shape.numel() % 8
    if spare and int(bits[-1]) >> spare:
        raise UserError(f"{path}: the mask of {name!r} has bits set beyond its last entry.")


def _check_rescaler(path: Path, name: str, rescaler: Tensor) -> None:
    whole = rescaler.dtype == torch.float32 and rescaler.dim() == 0
    if not whole or not bool(rescaler.isfinite() & (rescaler >= 0)):
        raise UserError(
            f"{path}: the rescaler of {name!r} must be one finite float32, not negative, but is "
            f"{rescaler.tolist()} of {rescaler.dtype}."
        )
