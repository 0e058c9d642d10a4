"""Finding out what models hold and share, from their headers alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from merge_ops.checkpoint import Checkpoint, open_checkpoint
from merge_ops.decoder import find_decoder
from merge_ops.disk_names import disk_names
from merge_ops.errors import UserError, did_you_mean
from merge_ops.recipe import Recipe
from merge_ops.tensors import MergedTensor, SharedTensors, share
from merge_ops.towers import Fit, Tower, TowerMisfitError, described, find_towers, fit, pick


@dataclass(frozen=True, slots=True)
class Lent:
    """A tower of the target that another model fills.

    Attributes:
        tower: of the target.
        owner: reference of the model that fills it.
        source: the owner's own tower.
        fit: which of the owner's tensors go where.
    """

    tower: Tower
    owner: str
    source: Tower
    fit: Fit


@dataclass(frozen=True, slots=True)
class Opened:
    """Models that are known by name and shape, and not loaded.

    Attributes:
        checkpoints: by reference; the target first.
        sources: references of the models beside the live one.
        shared: what all of them have in common.
        tensors: what recipes write.
        numels: elements of each of those, by canonical name.
        lent: the target's towers that other models fill.
    """

    checkpoints: Mapping[str, Checkpoint]
    sources: Sequence[str]
    shared: SharedTensors
    tensors: Sequence[MergedTensor]
    numels: Mapping[str, int]
    lent: Sequence[Lent] = ()

    @property
    def target(self) -> Checkpoint:
        """The model that becomes live."""
        return next(iter(self.checkpoints.values()))

    def own_name(self, reference: str, name: str) -> str:
        """A model's own name of a tensor."""
        return self.shared.names[list(self.checkpoints).index(reference)][name]

    def size(self, reference: str, names: Collection[str] | None = None) -> int:
        """Bytes of those tensors of a model that are merged, or of those named."""
        count = sum(self.numels[name] for name in (self.numels if names is None else names))
        return count * self.checkpoints[reference].dtype.itemsize

    def lend(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that owners give to the target's towers, by the target's own names."""
        for lent in self.lent:
            checkpoint = self.checkpoints[lent.owner]
            for name, pieces in lent.fit.items():
                read = [checkpoint.read(rows.name)[rows.start : rows.end] for rows in pieces]
                yield name, read[0] if len(read) == 1 else torch.cat(read)


def open_models(recipe: Recipe, also: Sequence[str] = ()) -> Opened:
    """Read the headers of a target and all models of `recipe` (and those named in `also`).

    Raises:
        UserError: a model cannot be read, or does not fit the target.
    """
    target = recipe.kept_from()
    named = [recipe.base_model, *(m.model for m in recipe.models), *also]
    sources = list(dict.fromkeys(ref for ref in named if ref))
    merged = list(dict.fromkeys([target, *sources]))
    checkpoints = {
        ref: open_checkpoint(ref, recipe.dtype)
        for ref in dict.fromkeys([*merged, *recipe.towers.values()])
    }
    names = disk_names(checkpoints[target].places)
    shared = share([checkpoints[ref].model for ref in merged], names, merged)
    lent = _lend(recipe, checkpoints, names)
    filled = {name for tower in lent for name in tower.fit}
    kept = {n for n, own in shared.names[0].items() if recipe.excludes(n) or own in filled}
    for name, reason in shared.misfits.items():
        if name not in kept:
            raise UserError(f"{name} {reason}; add it to mergetuna.exclude to keep the target's.")
    tensors = [tensor for tensor in shared.tensors if tensor.name not in kept]
    parameters = dict(checkpoints[target].model.named_parameters(remove_duplicate=False))
    numels = {t.name: parameters[shared.names[0][t.name]].numel() for t in tensors}
    return Opened(checkpoints, sources, shared, tensors, numels, lent)


def _lend(
    recipe: Recipe, checkpoints: Mapping[str, Checkpoint], disk: Mapping[str, str]
) -> tuple[Lent, ...]:
    """Which towers of the target the models under `towers` fill."""
    found: dict[str, tuple[Tower, ...]] = {}
    decoders = {}
    for ref in dict.fromkeys([recipe.kept_from(), *recipe.towers.values()]):
        decoders[ref] = find_decoder(checkpoints[ref].model, ref)
        found[ref] = find_towers(checkpoints[ref].model, decoders[ref])
    target = recipe.kept_from()
    lent: dict[str, Lent] = {}
    for key, owner in recipe.towers.items():
        tower = pick(found[target], key)
        if tower is None:
            raise UserError(_no_place(key, decoders[target].owner, found[target], found[owner]))
        own = [disk.get(name, name) for name in tower.names.values()]
        kept = [part for part in recipe.exclude if any(part in name for name in own)]
        if kept or tower.path in lent:
            other = f"exclude keeps the target's ({kept[0]})" if kept else "another key fills it"
            raise UserError(f"towers.{key}: one model must give {tower.path}, but {other}.")
        try:
            source, how = fit(tower, found[owner])
        except TowerMisfitError as misfit:
            raise UserError(
                f"towers.{key}: {decoders[owner].owner} must have a tower with the tensors of "
                f"{tower.path} in {decoders[target].owner}, but {misfit}."
            ) from None
        lent[tower.path] = Lent(tower, owner, source, how)
    return tuple(lent.values())


def _no_place(key: str, target: str, towers: Sequence[Tower], owned: Sequence[Tower]) -> str:
    """In words: the target holds no such tower, and so none of the owner's tensors."""
    known = [tower.path for tower in towers]
    lost = pick(owned, key)
    text = f"towers.{key}: {target} must have one tower of that name, but has {known or 'none'}"
    if lost is None:
        return f"{text}{did_you_mean(key, known)}"
    return f"{text}; nothing in it can hold the expert's {described(lost)}."
