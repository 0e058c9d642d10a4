"""Every point of a regular grid, once."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from merge_ops.errors import UserError
from merge_ops.registry import Value
from search.dimension import Choice, Coordinate
from search.in_flight import Pending, unused
from search.proposer import Proposal, derived_seed, unit_to_value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PLACE, LEVELS = "grid_place", "grid_levels"


class GridProposer:
    """A grid with as many levels per number as the budget allows, both ends included.

    Its points come in a shuffled order, so that a search that is stopped early has seen all of
    the space. A search that has begun keeps its grid, whatever budget it goes on with.
    """

    def __init__(self, dimensions: Sequence[Coordinate], seed: int, budget: int) -> None:
        """Choose the number of levels.

        Args:
            dimensions: what is searched; a list is taken whole.
            seed: of the order.
            budget: how many points there may be.

        Raises:
            UserError: two levels per number are more points than the budget.
        """
        self._dimensions = list(dimensions)
        lists = math.prod(len(d.values) for d in dimensions if isinstance(d, Choice))
        numbers = sum(not isinstance(d, Choice) for d in dimensions)
        levels = 2
        while numbers and lists * (levels + 1) ** numbers <= budget:
            levels += 1
        if lists * levels**numbers > budget:
            raise UserError(
                f"a grid of two levels for each of {numbers} numbers has {lists * 2**numbers} "
                f"points, but the budget is {budget} trials; search fewer dimensions, or use "
                "sampler: qmc, whose points fill the space with any budget."
            )
        self._levels = levels
        self._seed = derived_seed(seed, "grid")

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = ()
    ) -> Proposal | None:
        """The next point of the grid, or None where all were proposed."""
        tags = chain((t.user_attrs for t in trials), (p.tags for p in pending))
        levels = next((int(t[LEVELS]) for t in tags if LEVELS in t), self._levels)
        axes = [_levels(d, levels) for d in self._dimensions]
        place, size = unused(PLACE, trials, pending), math.prod(map(len, axes))
        if place >= size:
            return None
        rest, values = self._shuffled(place, size), {}
        for dimension, axis in zip(self._dimensions, axes, strict=True):
            rest, index = divmod(rest, len(axis))
            values[dimension.name] = axis[index]
        return Proposal(values, {PLACE: place, LEVELS: levels})

    def _shuffled(self, place: int, size: int) -> int:
        """An affine walk visits every point once: its step shares no factor with their number."""
        step = max(1, int(size * 0.618_034))
        while math.gcd(step, size) > 1:
            step += 1
        return (self._seed + place * step) % size


def _levels(dimension: Coordinate, count: int) -> tuple[Value, ...]:
    if isinstance(dimension, Choice):
        return dimension.values
    return tuple(unit_to_value(dimension, i / (count - 1)) for i in range(count))
