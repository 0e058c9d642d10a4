"""From a folder in an old layout to one that transformers and peft read; whole or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from merge_ops.atomic import check_free, new_folder
from merge_ops.download import source_folder
from merge_ops.errors import UserError
from merge_ops.old_layouts.internlm2 import llama_config, llama_names, write_tokenizer
from merge_ops.old_layouts.internvl_config import (
    INTERNLM2_CLASS,
    internlm2_shape,
    read_internvl,
    translated,
)
from merge_ops.old_layouts.internvl_files import image_token, write_files, write_json
from merge_ops.old_layouts.internvl_names import new_names
from merge_ops.old_layouts.job import Job, NewNames, Step, known_names, write, write_checked
from merge_ops.old_layouts.modelcompose import ADAPTER_FILE, write_adapters
from merge_ops.old_layouts.recognition import (
    ADAPTER,
    ADAPTER_PICKLE,
    INTERNLM2,
    INTERNVL,
    MODELCOMPOSE,
    PROJECTOR,
    TRAINABLES,
    OldLayout,
    old_layout,
    read_json,
)
from merge_ops.old_layouts.shards import SHARD_BYTES
from merge_ops.old_layouts.weights import Weights, check_allowed, open_weights, read_pickle
from merge_ops.overwriting import harm

_NOT_COPIED = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.safetensors", "*.py", ".git*")


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
    folder = source_folder(source, allow_pickle=allow_pickle)
    lost = harm(out, [], [str(folder)])
    if lost is not None:
        raise UserError(f"{out}: the new folder must not touch the old one: {lost}.")
    check_free(out, overwrite=overwrite)
    layout = old_layout(folder)
    if layout is None:
        raise UserError(
            f"{source}: nothing to convert: it is in no old layout that is known (InternVL's "
            "and InternLM2's remote code, ModelCompose's adapters, pickled weights)."
        )
    files = source_folder(tokenizer, allow_pickle=False) if tokenizer else folder
    rewrite = {
        INTERNVL: _internvl,
        INTERNLM2: _internlm2,
        MODELCOMPOSE: _modelcompose,
        ADAPTER_PICKLE: _adapter,
    }
    with new_folder(out, overwrite=overwrite) as scratch:
        job = Job(source, folder, scratch, allow_pickle, files, shard_bytes, step)
        tensors, size, notes = rewrite.get(layout.kind, _model)(job)
    return Converted(layout, tensors, size, notes)


_Result = tuple[int, int, list[str]]  # tensors, bytes, notes


def _internvl(job: Job) -> _Result:
    """Config, names, fused projections, tokenizer, processor, prompts."""
    old = read_internvl(read_json(job.folder / "config.json"), job.source)
    token = image_token(job.tokenizer, job.source)
    weights = open_weights(job.folder, job.source, allow_pickle=job.allow_pickle)
    plan = known_names(
        {name: new_names(name, old.internlm2) for name in weights}, old.text_class, job
    )
    if old.tied:
        _drop_head(plan, weights, job.source)
    write_json(job.scratch / "config.json", translated(old, token))
    notes = write_files(old, job.folder, job.tokenizer, job.scratch)
    return *write_checked(job, weights, plan, old.internlm2), notes


def _drop_head(plan: NewNames, weights: Weights, source: str) -> None:
    """Leave out a head that is the embeddings.

    Raises:
        UserError: it is not.
    """
    into = {new: name for name, names in plan.items() for new in names}
    head = into.get("language_model.lm_head.weight")
    embeddings = into.get("language_model.model.embed_tokens.weight")
    if head is None or embeddings is None:
        return
    if not torch.equal(weights[head], weights[embeddings]):
        raise UserError(
            f"{source}: config.json ties the head to the embeddings, but {head} and "
            f"{embeddings} differ. Set llm_config's tie_word_embeddings to false."
        )
    plan[head] = []


def _internlm2(job: Job) -> _Result:
    """Config, names, fused projections, tokenizer."""
    config = read_json(job.folder / "config.json")
    write_json(job.scratch / "config.json", llama_config(config, job.source))
    weights = open_weights(job.folder, job.source, allow_pickle=job.allow_pickle)
    shape = internlm2_shape(config)
    plan = known_names({name: llama_names(name, shape) for name in weights}, INTERNLM2_CLASS, job)
    notes = write_tokenizer(job.tokenizer, job.scratch)
    return *write_checked(job, weights, plan, shape), notes


def _model(job: Job) -> _Result:
    """Pickled weights under their own names; every other file as it is."""
    weights = open_weights(job.folder, job.source, allow_pickle=job.allow_pickle)
    _copy_files(job)
    plan = {name: [name] for name in weights}
    return *write(job, weights, plan, None), []


def _modelcompose(job: Job) -> _Result:
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


def _adapter(job: Job) -> _Result:
    """A pickled adapter of peft: its names are kept, and so is its config."""
    check_allowed([job.folder / ADAPTER], job.source, allow_pickle=job.allow_pickle)
    tensors = read_pickle(job.folder / ADAPTER)
    _copy_files(job)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}  # no shared memory
    save_file(kept, job.scratch / ADAPTER_FILE, metadata={"format": "pt"})
    return len(kept), sum(tensor.nbytes for tensor in kept.values()), []


def _copy_files(job: Job) -> None:
    """Everything that is no weight and no code."""
    for path in sorted(job.folder.iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in _NOT_COPIED):
            shutil.copyfile(path, job.scratch / path.name)
