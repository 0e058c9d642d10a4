"""Points of a scrambled Sobol sequence: they fill the space evenly, whatever was scored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.dimension import Choice, Coordinate
from search.in_flight import Pending, unused
from search.proposer import Proposal, derived_seed, unit_to_value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PLACE = "qmc_place"


class QmcProposer:
    """Owen's scrambling of Sobol's sequence (scipy.stats.qmc), one trial after the other.

    A list of three or more texts has no order, but each of its values still gets an equal share.
    """

    def __init__(self, dimensions: Sequence[Coordinate], seed: int) -> None:
        """Args: the same `dimensions` and `seed` give the same sequence."""
        self._dimensions = list(dimensions)
        self._seed = derived_seed(seed, "qmc")

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = ()
    ) -> Proposal:
        """The first point of the sequence that was neither scored nor is being scored."""
        from scipy.stats.qmc import Sobol

        place = unused(PLACE, trials, pending)
        sequence = Sobol(len(self._dimensions), scramble=True, rng=self._seed)
        if place:
            sequence.fast_forward(place)
        units = sequence.random(1)[0].tolist()
        values = {d.name: _value(d, unit) for d, unit in zip(self._dimensions, units, strict=True)}
        return Proposal(values, {PLACE: place})


def _value(dimension: Coordinate, unit: float) -> bool | float | str:
    if isinstance(dimension, Choice):
        return dimension.values[min(int(unit * len(dimension.values)), len(dimension.values) - 1)]
    return unit_to_value(dimension, unit)
