"""Evolution of merge boundaries: parents of different strengths, children split along depth.

After M2N2 (Abrantes et al., Competition and attraction improve model fusion, arXiv:2508.16204):
items are a limited resource that candidates share, so an archive keeps those that solve what
others do not; the second parent is one that is right where the first is wrong; a child mixes its
parents by one share up to a boundary over depth and by the rest of it behind. Here parents are
points of the search space, so a child is one merge of the experts and not a merge of merges.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from merge_ops.registry import Value
from search.dimension import Choice, Coordinate, Point
from search.in_flight import Pending
from search.proposer import Proposal, derived_seed, unit_to_value, value_to_unit
from search.racing import STOPPED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Numbers = NDArray[np.float64]

_ARCHIVE, _PARENTS = 20, 6
"""How many trials it holds, and from how many on they have children."""
_MUTATION = 0.05
"""Standard deviation of what is added to a child's coordinates, as a share of their intervals."""
_TINY = 1e-6


class M2n2Proposer:
    """Proposes children of two archived trials; random points until the archive has parents.

    The archive is a function of the finished trials: each in turn enters it, and beyond its size
    the one with the least shared fitness leaves.
    """

    def __init__(self, dimensions: Sequence[Coordinate], seed: int) -> None:
        """Args: boundaries lie between the places over depth of the `dimensions`."""
        self._dimensions = list(dimensions)
        self._seed = seed
        self._seen = 0
        self._archive: list[tuple[Point, Numbers]] = []

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = ()
    ) -> Proposal:
        """A child of the archive after `trials`; of points in flight only the number counts."""
        for trial in trials[self._seen :]:
            self._enter(trial)
        self._seen = len(trials)
        random = np.random.default_rng(
            derived_seed(self._seed, "m2n2", len(trials) + len(pending))
        )
        if len(self._archive) < _PARENTS:
            return Proposal({d.name: _anywhere(d, random.random()) for d in self._dimensions})
        scores = np.stack([found for _, found in self._archive])  # (archive, items)
        first = _draw(random, _shared_fitness(scores))
        second = _draw(random, _attraction(scores, first))
        return Proposal(self._child(random, self._archive[first][0], self._archive[second][0]))

    def _enter(self, trial: "FrozenTrial") -> None:
        """Put a trial with scores for all items into the archive, and the weakest one out."""
        text = trial.user_attrs.get("scores")
        if text is None or trial.user_attrs.get(STOPPED):
            return
        found = [score for part in json.loads(text).values() for score in part]
        self._archive.append((trial.params, np.array(found, dtype=float)))
        if len(self._archive) > _ARCHIVE:
            fitness = _shared_fitness(np.stack([scores for _, scores in self._archive]))
            del self._archive[int(fitness.argmin())]

    def _child(self, random: np.random.Generator, one: Point, two: Point) -> dict[str, Value]:
        """Mixed by a share before a random boundary, by the rest of it behind, and mutated."""
        last = max(getattr(d, "place", 0) for d in self._dimensions)
        share, boundary = random.random(), random.integers(0, last + 1)
        child: dict[str, Value] = {}
        for d in self._dimensions:
            step, coin = _MUTATION * random.standard_normal(), random.random()
            if isinstance(d, Choice):
                child[d.name] = (one if coin < share else two)[d.name]
                continue
            own = share if d.place < boundary else 1 - share
            mixed = own * value_to_unit(d, one[d.name]) + (1 - own) * value_to_unit(d, two[d.name])
            child[d.name] = unit_to_value(d, mixed + step)
        return child


def _anywhere(dimension: Coordinate, unit: float) -> Value:
    if isinstance(dimension, Choice):
        return dimension.values[int(unit * len(dimension.values))]
    return unit_to_value(dimension, unit)


def _shared_fitness(scores: Numbers) -> Numbers:
    """Each item's worth is divided among all who score on it: (archive, items) -> (archive,)."""
    fitness: Numbers = (scores / (scores.sum(0) + _TINY)).sum(1)
    return fitness


def _attraction(scores: Numbers, first: int) -> Numbers:
    """How much better each is where the first is weak, items that few solve counting more."""
    gain = np.maximum(scores - scores[first], 0) / (scores.sum(0) + _TINY)
    drawn: Numbers = gain.sum(1)
    drawn[first] = 0
    return drawn


def _draw(random: np.random.Generator, weights: Numbers) -> int:
    """An index, with a probability in proportion to its weight; any where all are 0."""
    total = float(weights.sum())
    odds = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    return int(random.choice(len(weights), p=odds))
