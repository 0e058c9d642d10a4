"""An adapter on a model: which parameters it edits, found by their names and checked by shape."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from transformers.pytorch_utils import Conv1D

from merge_ops.adapter_config import AdapterConfig, read_adapter_config
from merge_ops.adapter_file import AdapterFile, Factors, read_adapter_file
from merge_ops.adapter_names import Finder, parameter_finder
from merge_ops.edits import Edit
from merge_ops.errors import UserError, did_you_mean
from merge_ops.hub import adapter_folder
from merge_ops.references import split_adapter

_LISTED = 3
"""How many modules or tensors a refusal names."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter does to a model.

    Attributes:
        edits: by parameter name; a tied parameter under each of its names.
        ranks: the ranks of the updates, sorted.
        replaced: how many parameters are replaced.
        notes: what the user should know, a line each.
    """

    edits: Mapping[str, Edit]
    ranks: tuple[int, ...]
    replaced: int
    notes: tuple[str, ...] = ()


def open_adapter(reference: str, model: nn.Module) -> Adapter | None:
    """The adapter that a reference names, on its model; only headers are read.

    Args:
        reference: `model+adapter`; for a model alone there is nothing to do.
        model: that model, with weights or without.

    Raises:
        UserError: the adapter cannot be read, is of a kind that is not supported, or does not fit
            the model; modules, tensors and shapes are named.
    """
    folder = adapter_folder(reference)
    if folder is None:
        return None
    base, adapter = split_adapter(reference)
    config = read_adapter_config(folder, str(adapter))
    file = read_adapter_file(folder, str(adapter))
    owner = f"{base} ({type(model).__name__})"
    found = _edits(config, file, model, owner)
    if not found:
        raise UserError(f"{adapter}: it must change {owner}, but has nothing for it.")
    edits, notes = _under_all_names(found, model, str(adapter))
    return Adapter(
        edits=edits,
        ranks=tuple(sorted({factors.rank for factors in file.factors.values()})),
        replaced=sum(edit.whole is not None for edit in found.values()),
        notes=(*_notes(config, base), *notes),
    )


def _edits(
    config: AdapterConfig, file: AdapterFile, model: nn.Module, owner: str
) -> dict[str, Edit]:
    """Edits by parameter name."""
    find = parameter_finder(model)
    places = {module: find(f"{module}.weight") for module in file.factors}
    whole = {name: find(name) for name in file.whole if not _is_head(name, find)}
    absent = [name for name, place in {**places, **whole}.items() if place is None]
    if absent:
        raise UserError(_absent(absent, model, config.reference, owner))
    edits = {
        str(whole[name]): Edit(config.reference, whole=place)
        for name, place in file.whole.items()
        if name in whole
    }
    for module, factors in file.factors.items():
        name = str(places[module])
        start = edits.get(name, Edit(config.reference))
        edits[name] = _with_factors(start, factors, module, name, model, config)
    _check_shapes(edits, model, config.reference, owner)
    return edits


def _is_head(name: str, find: Finder) -> bool:
    """A reward head for a model that has none: `reward_head` takes it, a merge does not."""
    return name.startswith("score.") and find(name) is None


def _with_factors(
    edit: Edit, factors: Factors, module: str, name: str, model: nn.Module, config: AdapterConfig
) -> Edit:
    path = name.removesuffix(".weight")
    rank = config.rank_of(module, path)
    if rank != factors.rank:
        raise UserError(
            f"{config.reference}: {factors.a.key} is {factors.a.shape}, but adapter_config.json "
            f"says rank {rank} for it; the two files are not of one adapter."
        )
    return replace(
        edit,
        factors=factors,
        scale=config.scale_of(module, path),
        transposed=isinstance(model.get_submodule(path), Conv1D),
    )


def _check_shapes(edits: Mapping[str, Edit], model: nn.Module, reference: str, owner: str) -> None:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    wrong = []
    for name, edit in edits.items():
        shape = tuple(parameters[name].shape)
        for text, made in _made(edit):
            if made != shape:
                wrong.append(f"{text} is {made}, but {name} is {shape}")
    if wrong:
        raise UserError(
            f"{reference}: an adapter must have the shapes of {owner}: {_list(wrong, '; ')}."
        )


def _made(edit: Edit) -> list[tuple[str, tuple[int, ...]]]:
    """What an edit is made of, and the shape of the weight that it would fit."""
    found = []
    if edit.whole is not None:
        found.append((edit.whole.key, edit.whole.shape))
    if edit.factors is not None:
        a, b = edit.factors.a, edit.factors.b
        shape = (b.shape[0], a.shape[1])
        turned = edit.transposed or edit.factors.embedding
        found.append((f"{b.key} {b.shape} x {a.key} {a.shape}", shape[::-1] if turned else shape))
    return found


def _under_all_names(
    found: Mapping[str, Edit], model: nn.Module, reference: str
) -> tuple[dict[str, Edit], list[str]]:
    """Edits by every name of a tied parameter, and notes.

    PEFT merges an update of tied weights into both; what replaces one of them unties them.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    uses = Counter(id(parameter) for parameter in parameters.values())
    edits: dict[int, Edit] = {}
    notes = []
    for name, edit in found.items():
        own = id(parameters[name])
        if own in edits or (uses[own] > 1 and edit.factors is None):
            raise UserError(
                f"{reference}: {name} is tied to another tensor of the model, so that it takes "
                "one low-rank update and nothing else, but the adapter unties the two. Put it on "
                "a copy of the model that was saved with tie_word_embeddings: false."
            )
        edits[own] = edit
        if uses[own] > 1:
            notes.append(f"{reference}: {name} is tied; embeddings and head both take its update")
    return {n: edits[id(p)] for n, p in parameters.items() if id(p) in edits}, notes


def _absent(names: Sequence[str], model: nn.Module, reference: str, owner: str) -> str:
    modules = [name for name, _ in model.named_modules() if name]
    hint = did_you_mean(names[0], modules)
    return (
        f"{reference}: {owner} must have every module that the adapter changes, but has not "
        f"{_list(names, ', ')}{hint or '.'} Is it the model that the adapter was trained on?"
    )


def _list(texts: Sequence[str], separator: str) -> str:
    more = f"{separator}and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return separator.join(texts[:_LISTED]) + more


def _notes(config: AdapterConfig, base: str) -> tuple[str, ...]:
    """Whether the adapter says that it was trained on another model; names alone tell."""
    trained = config.trained_on
    name = Path(trained).name.lower()
    cached = f"models--{trained.replace('/', '--')}".lower()
    known = {Path(base.partition("@")[0]).name.lower(), *base.lower().split("/")}
    if not trained or name in known or cached in known:
        return ()
    return (f"{config.reference} was trained on {trained}, and is put on {base}",)
