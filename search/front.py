"""Fronts: trials of several values that no other trial beats, and how much room they cover."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from search.feasibility import feasible, in_full, order, value_of, violation

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Point = Sequence[float]
"""The values of one trial, each to be maximised."""


def is_front(trials: Sequence["FrozenTrial"]) -> bool:
    """Whether the trials are of a search for several values."""
    return any(t.values is not None and len(t.values) > 1 for t in trials)


def reaches(one: Point, other: Point) -> bool:
    """Whether `one` is as good in every value."""
    return all(a >= b for a, b in zip(one, other, strict=True))


def undominated(points: Sequence[Point]) -> list[int]:
    """Places of the points that none beats, in their order; of equal ones the first."""
    kept: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (*(-v for v in points[i]), i)):
        # whatever beats a point stands before it in this order
        if not any(reaches(points[j], points[i]) for j in kept):
            kept.append(i)
    return sorted(kept)


def hypervolume(points: Sequence[Point]) -> float:
    """Volume of all that the points reach or exceed, above 0 in every value; within [0, 1].

    After Zitzler and Thiele, IEEE TEVC 3 (1999); the reference is 0, the least that any score is.
    """
    from optuna._hypervolume import compute_hypervolume

    if not points:
        return 0.0
    table = -np.asarray(points, dtype=float)  # (points, values): Optuna minimises
    return float(compute_hypervolume(table, np.zeros(table.shape[1])))


def front_of(trials: Sequence["FrozenTrial"]) -> list["FrozenTrial"]:
    """The trials that no other beats, by their number; of those that keep their constraints."""
    own = [t for t in trials if _stands(t)]
    return [own[i] for i in undominated([t.values for t in own])]


def growth(trials: Sequence["FrozenTrial"]) -> list[float]:
    """The hypervolume of the front after each trial; it grows with those that join the front."""
    front: list[Point] = []
    volumes: list[float] = []
    for trial in trials:
        if _stands(trial) and not any(reaches(point, trial.values) for point in front):
            front = [*(point for point in front if not reaches(trial.values, point)), trial.values]
            volumes.append(hypervolume(front))
        else:
            volumes.append(volumes[-1] if volumes else 0.0)
    return volumes


def gains(trials: Sequence["FrozenTrial"]) -> list[bool]:
    """Whether each trial was better than all before it; of a front, whether it widened it."""
    if is_front(trials):
        volumes = [0.0, *growth(trials)]
        return [later > before for before, later in pairwise(volumes)]
    best, found = (math.inf, math.inf), []
    for trial in trials:
        key = order(trial)[:2]
        found.append(value_of(trial) is not None and key < best)
        best = key if found[-1] else best
    return found


def foremost(trials: Sequence["FrozenTrial"], count: int) -> list["FrozenTrial"]:
    """So many trials to be scored again: the front, then what is the front without it, and so on.

    Of a layer that does not fit whole those are taken that add most to the hypervolume, one by
    one. What breaks constraints comes last, the least broken first.
    """
    left, kept = [t for t in trials if feasible(t)], list["FrozenTrial"]()
    while left and len(kept) < count:
        layer = [left[i] for i in undominated([t.values for t in left])]
        kept += _widest(layer, count - len(kept))
        numbers = {t.number for t in layer}
        left = [t for t in left if t.number not in numbers]
    broken = sorted((t for t in trials if not feasible(t)), key=lambda t: (violation(t), t.number))
    return [*kept, *broken][:count]


def _widest(layer: Sequence["FrozenTrial"], count: int) -> list["FrozenTrial"]:
    left, kept = list(layer), list["FrozenTrial"]()
    while left and len(kept) < count:
        volumes = [hypervolume([*(k.values for k in kept), t.values]) for t in left]
        kept.append(left.pop(volumes.index(max(volumes))))
    return kept


def _stands(trial: "FrozenTrial") -> bool:
    """Whether a trial was scored whole and keeps its constraints."""
    return in_full(trial) and feasible(trial)
