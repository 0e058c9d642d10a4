"""Figures of a front on one split: what each point got, the room they cover, and its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from objectives.records import ScoreSet, combined
from objectives.statistics import Interval
from search.front import hypervolume

_RESAMPLES, _SEED = 1000, 20_240_917

Values = Mapping[str, Sequence[str]]
"""The objectives of each value, by its name."""
Front = Sequence[Sequence[ScoreSet]]
"""Score sets of each point, all of the same objectives and examples."""


def values_of(sets: Sequence[ScoreSet], values: Values) -> dict[str, float]:
    """What one model got, by value: the weighted mean of its objectives."""
    return {
        name: combined([s for s in sets if s.objective in own]) for name, own in values.items()
    }


@dataclass(frozen=True, slots=True)
class Room:
    """Hypervolumes of a front and of its rival, above 0.

    Attributes:
        own: the front's.
        rival: the rival's.
        difference: own minus rival's, with its 95 % interval.
    """

    own: float
    rival: float
    difference: Interval


def covered(front: Front, values: Values) -> float:
    """The hypervolume of a front above 0."""
    return hypervolume([list(values_of(sets, values).values()) for sets in front])


def compare_room(ours: Front, theirs: Front, values: Values) -> Room:
    """Whether a front covers more than another one, scored on the same examples.

    Percentile bootstrap over examples, stratified by objective and category, the same resample for
    all points of both. A hypervolume takes the best of several noisy figures and so flatters a
    front; it flatters the one of more points more.
    """
    points = [*ours, *theirs]
    table = _resampled(points, values)  # (R, points, values)
    count = len(ours)
    gaps = [hypervolume(some[:count]) - hypervolume(some[count:]) for some in table.tolist()]
    low, high = np.quantile(gaps, [0.025, 0.975])
    own, rival = covered(ours, values), covered(theirs, values)
    return Room(own, rival, Interval(own - rival, float(low), float(high)))


def _resampled(points: Front, values: Values) -> NDArray[np.float64]:
    """Every point's values on resamples of the examples: (R, points, values)."""
    rng = np.random.default_rng(_SEED)
    by_objective = {
        sets[0].objective: _means(sets, rng) for sets in zip(*points, strict=True)
    }  # (R, points) each
    weights = {s.objective: s.weight for s in points[0]}
    return np.stack(
        [
            np.average(
                np.stack([by_objective[name] for name in own]),
                axis=0,
                weights=[weights[name] for name in own],
            )
            for own in values.values()
        ],
        axis=2,
    )


def _means(sets: Sequence[ScoreSet], rng: np.random.Generator) -> NDArray[np.float64]:
    """One objective's figure for every point on the same resamples: (R, points)."""
    places = [{score.id: score.value for score in one.scores} for one in sets]
    groups: dict[str, list[str]] = {}
    for score in sets[0].scores:
        groups.setdefault(score.category, []).append(score.id)
    means, sizes = [], []
    for ids in groups.values():
        drawn = rng.integers(len(ids), size=(_RESAMPLES, len(ids)))
        rows = [np.array([place[i] for i in ids]) for place in places]
        means.append(np.stack([row[drawn].mean(1) for row in rows], axis=1))  # (R, points)
        sizes.append(len(ids))
    weights = sizes if sets[0].average == "micro" else None
    return np.average(np.stack(means), axis=0, weights=weights)
