"""What every sampler looks like to the study: the finished trials in, the next point out."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from merge_ops.registry import Value
from search.dimension import Choice, Coordinate
from search.in_flight import Pending

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next point to score.

    Attributes:
        values: one per dimension, by name.
        tags: what the proposer needs to find its own trials again; kept with the trial.
    """

    values: dict[str, Value]
    tags: Mapping[str, float] = field(default_factory=dict)


class Proposer(Protocol):
    """Proposes points from the finished trials, and from what is in flight, alone.

    They are its only state: a proposer made anew and given the same proposes the same point, so
    a study that was killed goes on as if it had not been.
    """

    def propose(
        self, trials: Sequence["FrozenTrial"], pending: Sequence[Pending] = (), /
    ) -> Proposal | None:
        """The next point; None where no point is left.

        Args:
            trials: all finished ones in the order of their results.
            pending: points in flight, in the order of their proposals; none where one point is
                scored at a time.
        """
        ...


def derived_seed(seed: int, *address: int | str) -> int:
    """A 32-bit seed of its own for every address, such as the number of trials so far."""
    text = "\0".join(map(str, (seed, *address)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def unit_to_value(dimension: Coordinate, unit: float) -> Value:
    """From [0, 1] to the dimension's interval; each value of a list has an equal share of it.

    Raises:
        ValueError: a list without an order.
    """
    share = min(max(unit, 0.0), 1.0)
    if isinstance(dimension, Choice):
        values = _ranked(dimension)
        return values[min(int(share * len(values)), len(values) - 1)]
    if dimension.log:
        return dimension.low * math.pow(dimension.high / dimension.low, share)
    return dimension.low + (dimension.high - dimension.low) * share


def value_to_unit(dimension: Coordinate, value: Value) -> float:
    """From the dimension's interval to [0, 1]; a value of a list lies amid its share."""
    if isinstance(dimension, Choice):
        values = _ranked(dimension)
        return (values.index(value) + 0.5) / len(values)
    low, high, at = dimension.low, dimension.high, float(value)
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(max(at, dimension.low))
    return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def _ranked(choice: Choice) -> tuple[Value, ...]:
    values = choice.ranked()
    if values is None:
        raise ValueError(f"{choice.name}: three or more texts have no order, but got {choice}.")
    return values
