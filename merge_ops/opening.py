"""Finding out what models hold and share, from their headers alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from merge_ops.checkpoint import Checkpoint, open_checkpoints
from merge_ops.disk_names import disk_names
from merge_ops.errors import UserError, did_you_mean
from merge_ops.lending import Lent, lend
from merge_ops.recipe import Recipe
from merge_ops.tensors import MergedTensor, SharedTensors, is_vocabulary, share
from merge_ops.vocabulary import Agreement, Rows, agree, summary

_VOCABULARY = ("embed_tokens", "lm_head")
"""Excluded where a study does not say; a model that ties its head has but one of them."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Models that are known by name and shape, and not loaded.

    Attributes:
        checkpoints: by reference; the target first.
        sources: references of the models beside the live one.
        shared: what all of them have in common.
        tensors: what recipes write.
        numels: elements of each of those that are merged, by canonical name.
        agreements: what the tokenizers say of those of them that have a row for each token.
        lent: the target's towers that other models fill.
        idle: what the recipe excludes although no tensor is called so, in words.
    """

    checkpoints: Mapping[str, Checkpoint]
    sources: Sequence[str]
    shared: SharedTensors
    tensors: Sequence[MergedTensor]
    numels: Mapping[str, int]
    agreements: Mapping[str, Agreement]
    lent: Sequence[Lent] = ()
    idle: Sequence[str] = ()

    @property
    def rows(self) -> dict[str, Rows]:
        """Which rows are merged, of tensors whose other rows are kept from the target."""
        return {n: found.rows for n, found in self.agreements.items() if found.rows is not None}

    @property
    def vocabulary(self) -> list[str]:
        """What is merged of embeddings and head, in words; nothing where they are excluded."""
        return summary({name: found.text for name, found in self.agreements.items()})

    @property
    def target(self) -> Checkpoint:
        """The model that becomes live."""
        return next(iter(self.checkpoints.values()))

    def own_name(self, reference: str, name: str) -> str:
        """A model's own name of a tensor."""
        return self.shared.names[list(self.checkpoints).index(reference)][name]

    def own_shape(self, name: str) -> torch.Size:
        """Of the target's own parameter, with those rows that are not merged."""
        target = self.target
        return target.model.get_parameter(self.own_name(target.reference, name)).shape

    def notes(self) -> list[str]:
        """What the user should know about the models' files and adapters, a line each."""
        adapters = [checkpoint.adapter for checkpoint in self.checkpoints.values()]
        unread = [
            f"{reference}: {type(checkpoint.model).__name__} has no place for "
            f"{len(checkpoint.unknown)} tensors of its files, which are left out: "
            f"{', '.join(f'{name!r:.80}' for name in checkpoint.unknown[:3])}"
            for reference, checkpoint in self.checkpoints.items()
            if checkpoint.unknown and checkpoint.adapter is None
        ]
        return [
            *self.idle,
            *unread,
            *(note for adapter in adapters if adapter for note in adapter.notes),
        ]

    def owner(self, reference: str, name: str) -> str:
        """The source that holds a tensor for a model: itself, or one that has the same tensor.

        Models with an adapter share what it leaves as it is with the model, and with each other.
        """
        if self._is_computed(reference, name):
            return reference
        model = self.checkpoints[reference].model
        alike = [ref for ref in self.sources if self.checkpoints[ref].model is model]
        return next(ref for ref in alike if not self._is_computed(ref, name))

    def size(self, reference: str, names: Collection[str] | None = None) -> int:
        """Bytes of those tensors of a model that are merged, and that it holds by itself.

        Args:
            reference: the model.
            names: only these; None for all.
        """
        wanted = self.numels if names is None else names
        held = [self.numels[n] for n in wanted if self.owner(reference, n) == reference]
        return sum(held) * self.checkpoints[reference].dtype.itemsize

    def largest_computed(self) -> int:
        """Elements of the largest merged tensor that an adapter changes."""
        sizes = [
            numel
            for reference in self.sources
            for name, numel in self.numels.items()
            if self._is_computed(reference, name)
        ]
        return max(sizes, default=0)

    def _is_computed(self, reference: str, name: str) -> bool:
        return self.checkpoints[reference].is_computed(self.own_name(reference, name))

    def lend(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that owners give to the target's towers, by the target's own names."""
        for lent in self.lent:
            checkpoint = self.checkpoints[lent.owner]
            for name, pieces in lent.fit.items():
                read = [checkpoint.read(rows.name)[rows.start : rows.end] for rows in pieces]
                yield name, read[0] if len(read) == 1 else torch.cat(read)


def open_models(recipe: Recipe, also: Sequence[str] = (), *, by_id: bool = False) -> Opened:
    """Read the headers of a target and all models of `recipe` (and those named in `also`).

    Where embeddings or head are not excluded, tokenizers are compared, and only rows on which
    those of all these models agree are merged.

    Args:
        recipe: names the models.
        also: references of further models.
        by_id: take one id for one token in all models, whatever their tokenizers say.

    Raises:
        UserError: a model cannot be read, does not fit the target, or has no tokenizer where one
            is needed.
    """
    target = recipe.kept_from()
    named = [recipe.base_model, *(m.model for m in recipe.models), *also]
    sources = list(dict.fromkeys(ref for ref in named if ref))
    merged = list(dict.fromkeys([target, *sources]))
    checkpoints = open_checkpoints([*merged, *recipe.towers.values()], recipe.dtype)
    names = disk_names(checkpoints[target].places)
    models = [checkpoints[ref].model for ref in merged]
    shared = share(models, names, merged, uneven=not by_id)
    lent = lend(recipe, checkpoints, names)
    filled = {name for tower in lent for name in tower.fit}
    kept = {n for n, own in shared.names[0].items() if recipe.excludes(n) or own in filled}
    for name, reason in shared.misfits.items():
        if name not in kept:
            raise UserError(f"{name} {reason}; add it to mergetuna.exclude to keep the target's.")
    tensors = [tensor for tensor in shared.tensors if tensor.name not in kept]
    parameters = dict(checkpoints[target].model.named_parameters(remove_duplicate=False))
    shapes = {t.name: parameters[shared.names[0][t.name]].shape for t in tensors}
    several = len(merged) > 1 and not by_id
    agreements = {
        t.name: agree(rows_of(checkpoints, shared, t.name))
        for t in tensors
        if several and is_vocabulary(t.name)
    }
    idle = _idle(recipe.exclude, shared.names[0])
    found = Opened(checkpoints, sources, shared, tensors, {}, agreements, lent, idle)
    shapes |= {name: rows.shape(shapes[name]) for name, rows in found.rows.items()}
    return replace(found, numels={name: shape.numel() for name, shape in shapes.items()})


def _idle(exclude: Sequence[str], names: Collection[str]) -> list[str]:
    """A note on each pattern that excludes nothing, but for those of a study's own default."""
    parts = {part for name in names for part in name.split(".")}
    return [
        f"exclude: {pattern!r} is part of no tensor's name{did_you_mean(pattern, parts)}"
        for pattern in exclude
        if pattern not in _VOCABULARY and not any(pattern in name for name in names)
    ]


def rows_of(
    checkpoints: Mapping[str, Checkpoint], shared: SharedTensors, name: str
) -> dict[str, int]:
    """How many rows each merged model's own tensor of a canonical name has, by reference."""
    pairs = zip(checkpoints.items(), shared.names, strict=False)  # owners of towers come last
    return {
        reference: int(checkpoint.model.get_parameter(names[name]).shape[0])
        for (reference, checkpoint), names in pairs
    }
