"""From a folder in an old layout to one that transformers and peft read; whole or not at all."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from merge_ops.atomic import check_free, new_folder
from merge_ops.checkpoint import open_checkpoint
from merge_ops.download import source_folder
from merge_ops.errors import UserError
from merge_ops.old_layouts.internvl_config import InternVL, read_internvl, translated
from merge_ops.old_layouts.internvl_files import image_token, write_files
from merge_ops.old_layouts.internvl_names import new_names, renamed
from merge_ops.old_layouts.modelcompose import ADAPTER_FILE, write_adapters
from merge_ops.old_layouts.recognition import (
    ADAPTER,
    ADAPTER_PICKLE,
    INTERNVL,
    MODELCOMPOSE,
    PROJECTOR,
    TRAINABLES,
    OldLayout,
    old_layout,
    read_json,
)
from merge_ops.old_layouts.shards import SHARD_BYTES, ShardWriter
from merge_ops.old_layouts.weights import Weights, check_allowed, open_weights, read_pickle

_NOT_COPIED = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.safetensors", "*.py", ".git*")
_SPARE = 100_000_000  # bytes for everything that is no weight

Step = Callable[[int, int], None]
"""Called with how many tensors are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a conversion.

    Attributes:
        layout: what the source was.
        tensors: how many were written.
        bytes: of all of them.
        notes: what the user should know.
    """

    layout: OldLayout
    tensors: int
    bytes: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Job:
    """One conversion under way."""

    source: str
    folder: Path
    scratch: Path
    allow_pickle: bool
    tokenizer: Path
    shard_bytes: int
    step: Step | None


def convert(
    source: str,
    out: Path,
    *,
    allow_pickle: bool = False,
    tokenizer: str | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    step: Step | None = None,
) -> Converted:
    """Write `source` to the folder `out` in the layout of transformers, or of peft for adapters.

    Args:
        source: a folder or a hub id.
        out: the new folder; it appears under its name only when it is whole.
        allow_pickle: read pickles, as weights only.
        tokenizer: a folder or hub id whose tokenizer files are taken instead of the source's.
        overwrite: replace `out` if it exists.
        shard_bytes: of one weight file at most, unless one tensor is larger.
        step: told of progress.

    Raises:
        UserError: the layout is not known, a variant does not map exactly, weights are pickles and
            not allowed, missing or damaged, or `out` exists.
    """
    check_free(out, overwrite=overwrite)
    folder = source_folder(source, allow_pickle=allow_pickle)
    layout = old_layout(folder)
    if layout is None:
        raise UserError(
            f"{source}: nothing to convert: it is in no old layout that is known (InternVL's "
            "remote code, ModelCompose's adapters, pickled weights)."
        )
    files = source_folder(tokenizer, allow_pickle=False) if tokenizer else folder
    write = {INTERNVL: _internvl, MODELCOMPOSE: _modelcompose, ADAPTER_PICKLE: _adapter}
    with new_folder(out, overwrite=overwrite) as scratch:
        job = _Job(source, folder, scratch, allow_pickle, files, shard_bytes, step)
        tensors, size, notes = write.get(layout.kind, _model)(job)
    return Converted(layout, tensors, size, notes)


_Result = tuple[int, int, list[str]]  # tensors, bytes, notes


def _internvl(job: _Job) -> _Result:
    """Config, names, fused projections, tokenizer, processor, prompts."""
    old = read_internvl(read_json(job.folder / "config.json"), job.source)
    token = image_token(job.tokenizer, job.source)
    weights = open_weights(job.folder, job.source, allow_pickle=job.allow_pickle)
    plan = _plan(old, weights, job.source)
    text = json.dumps(translated(old, token), indent=2, sort_keys=True)
    (job.scratch / "config.json").write_text(text + "\n", encoding="utf-8")
    notes = write_files(old, job.folder, job.tokenizer, job.scratch)
    written = _stream(job, weights, plan, old)
    _check_whole(job, {new for names in plan.values() for new in names})
    return *written, notes


def _plan(old: InternVL, weights: Weights, source: str) -> dict[str, list[str]]:
    """New names of every tensor.

    Raises:
        UserError: no rule knows some, or head and embeddings are tied and differ.
    """
    plan = {name: new_names(name, old.internlm2) for name in weights}
    unknown = [name for name, names in plan.items() if names is None]
    if unknown:
        lora = any("lora_" in name for name in unknown)
        advice = " Merge the LoRA into the model first." if lora else ""
        raise UserError(
            f"{source}: every tensor must be one of InternVL's with {old.text_class}, but "
            f"{len(unknown)} are not: {', '.join(unknown[:3])}"
            f"{' ...' if unknown[3:] else ''}.{advice}"
        )
    known = {name: names for name, names in plan.items() if names is not None}
    into = {new: name for name, names in known.items() for new in names}
    head = into.get("language_model.lm_head.weight")
    if old.tied and head is not None:
        embeddings = into.get("language_model.model.embed_tokens.weight", head)
        if not torch.equal(weights[head], weights[embeddings]):
            raise UserError(
                f"{source}: config.json ties the head to the embeddings, but {head} and "
                f"{embeddings} differ. Set llm_config's tie_word_embeddings to false."
            )
        known[head] = []
    return known


def _check_whole(job: _Job, written: set[str]) -> None:
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


def _model(job: _Job) -> _Result:
    """Pickled weights under their own names; every other file as it is."""
    weights = open_weights(job.folder, job.source, allow_pickle=job.allow_pickle)
    _copy_files(job)
    plan = {name: [name] for name in weights}
    return *_stream(job, weights, plan, None), []


def _modelcompose(job: _Job) -> _Result:
    """One adapter of peft per modality."""
    names = [ADAPTER, PROJECTOR, TRAINABLES]
    paths = [job.folder / name for name in names if (job.folder / name).is_file()]
    if not any(path.name == ADAPTER for path in paths):
        raise UserError(
            f"{job.source}: its LoRA must stand in {ADAPTER}, but there is no such file."
        )
    check_allowed(paths, job.source, allow_pickle=job.allow_pickle)
    tensors = {key: value for path in paths for key, value in read_pickle(path).items()}
    config = read_json(job.folder / "config.json")
    notes = write_adapters(tensors, config, job.source, job.scratch)
    return len(tensors), sum(t.nbytes for t in tensors.values()), notes


def _adapter(job: _Job) -> _Result:
    """A pickled adapter of peft: its names are kept, and so is its config."""
    check_allowed([job.folder / ADAPTER], job.source, allow_pickle=job.allow_pickle)
    tensors = read_pickle(job.folder / ADAPTER)
    _copy_files(job)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}  # no shared memory
    save_file(kept, job.scratch / ADAPTER_FILE, metadata={"format": "pt"})
    return len(kept), sum(tensor.nbytes for tensor in kept.values()), []


def _stream(
    job: _Job, weights: Weights, plan: Mapping[str, list[str]], old: InternVL | None
) -> tuple[int, int]:
    """Write the weights tensor by tensor."""
    _check_disk(job)
    writer = ShardWriter(job.scratch, job.shard_bytes)
    internlm2 = old.internlm2 if old is not None else None
    for done, (name, names) in enumerate(plan.items(), 1):
        if names:
            tensor = weights[name]
            parts: Iterable[tuple[str, torch.Tensor]] = renamed(name, tensor, names, internlm2)
            writer.add(parts)
        if job.step is not None:
            job.step(done, len(plan))
    return writer.close(), writer.total_bytes


def _check_disk(job: _Job) -> None:
    """Room for the new files, before any is written."""
    kinds = ("*.safetensors", "pytorch_model*.bin")
    need = _SPARE + sum(path.stat().st_size for kind in kinds for path in job.folder.glob(kind))
    free = shutil.disk_usage(job.scratch).free
    if free < need:
        raise UserError(
            f"{job.scratch.parent}: writing needs {need / 1e9:.1f} GB of disk, but "
            f"{free / 1e9:.1f} GB are free. Choose a folder on another disk."
        )


def _copy_files(job: _Job) -> None:
    """Everything that is no weight and no code."""
    for path in sorted(job.folder.iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in _NOT_COPIED):
            shutil.copyfile(path, job.scratch / path.name)
