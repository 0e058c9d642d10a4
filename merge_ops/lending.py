"""Towers that other models fill: which of an owner's tensors go where in the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from merge_ops.checkpoint import Checkpoint
from merge_ops.decoder import find_decoder
from merge_ops.errors import UserError, did_you_mean
from merge_ops.recipe import Recipe
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


def lend(
    recipe: Recipe, checkpoints: Mapping[str, Checkpoint], disk: Mapping[str, str]
) -> tuple[Lent, ...]:
    """Which towers of the target the models under `towers` fill.

    Args:
        recipe: names towers and owners.
        checkpoints: of the target and all owners, by reference.
        disk: names in the target's files by its own names.

    Raises:
        UserError: a tower is not the target's, has no match in its owner, or is to be kept.
    """
    if not recipe.towers:
        return ()
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
