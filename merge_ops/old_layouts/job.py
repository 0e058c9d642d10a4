"""One conversion under way: where it reads and writes, and how weights go from here to there."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from merge_ops.checkpoint import open_checkpoint
from merge_ops.errors import UserError
from merge_ops.old_layouts.internvl_names import TextShape, renamed
from merge_ops.old_layouts.shards import ShardWriter
from merge_ops.old_layouts.weights import Weights

_SPARE = 100_000_000  # bytes for everything that is no weight

Step = Callable[[int, int], None]
"""Called with how many tensors are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion.

    Attributes:
        source: as the user called it.
        folder: where its files lie.
        scratch: where the new ones are written.
        allow_pickle: whether pickles may be read.
        tokenizer: the folder of the tokenizer's files.
        shard_bytes: of one weight file.
        step: told of progress.
    """

    source: str
    folder: Path
    scratch: Path
    allow_pickle: bool
    tokenizer: Path
    shard_bytes: int
    step: Step | None


NewNames = dict[str, list[str]]
"""New names of every tensor, by its old one; none of those that are left out."""


def known_names(names: Mapping[str, list[str] | None], kind: str, job: Job) -> NewNames:
    """New names.

    Raises:
        UserError: no rule knows some tensor.
    """
    unknown = [name for name, new in names.items() if new is None]
    if unknown:
        lora = any("lora_" in name for name in unknown)
        advice = " Merge the LoRA into the model first." if lora else ""
        raise UserError(
            f"{job.source}: every tensor must be one of a model with {kind}, but "
            f"{len(unknown)} are not: {', '.join(unknown[:3])}"
            f"{' ...' if unknown[3:] else ''}.{advice}"
        )
    return {name: new for name, new in names.items() if new is not None}


def write_checked(
    job: Job, weights: Weights, plan: NewNames, internlm2: TextShape | None
) -> tuple[int, int]:
    """Write the weights, and check that they are the whole model."""
    written = write(job, weights, plan, internlm2)
    _check_whole(job, {new for names in plan.values() for new in names})
    return written


def _check_whole(job: Job, written: set[str]) -> None:
    """What was written must be all of the model that config.json describes, and no more."""
    try:
        places = open_checkpoint(str(job.scratch), None).places
    except UserError as error:
        raise UserError(str(error).replace(str(job.scratch), job.source)) from None
    unread = sorted(written - {place.key for place in places.values()})
    if not places or unread:
        found = f"more tensors ({', '.join(unread[:3])} ...)" if places else "fewer tensors"
        raise UserError(
            f"{job.source}: its files must hold the model that config.json describes, but hold "
            f"{found}."
        )


def write(
    job: Job, weights: Weights, plan: NewNames, internlm2: TextShape | None
) -> tuple[int, int]:
    """Write the weights tensor by tensor; returns how many, and bytes."""
    _check_disk(job)
    writer = ShardWriter(job.scratch, job.shard_bytes)
    for done, (name, names) in enumerate(plan.items(), 1):
        if names:
            writer.add(renamed(weights[name], names, internlm2))
        if job.step is not None:
            job.step(done, len(plan))
    return writer.close(), writer.total_bytes


def _check_disk(job: Job) -> None:
    """Room for the new files, before any is written."""
    kinds = ("*.safetensors", "pytorch_model*.bin")
    need = _SPARE + sum(path.stat().st_size for kind in kinds for path in job.folder.glob(kind))
    free = shutil.disk_usage(job.scratch).free
    if free < need:
        raise UserError(
            f"{job.scratch.parent}: writing needs {need / 1e9:.1f} GB of disk, but "
            f"{free / 1e9:.1f} GB are free. Choose a folder on another disk."
        )
