"""What every sampler looks like to the study: the finished trials in, the next point out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from search.space import Dimension

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next point to score.

    Attributes:
        values: one number per dimension, by name.
        tags: what the proposer needs to find its own trials again; kept with the trial.
    """

    values: dict[str, float]
    tags: Mapping[str, int] = field(default_factory=dict)


class Proposer(Protocol):
    """Proposes points from the finished trials alone.

    The trials are the only state: a proposer made anew and given the same trials proposes the
    same point, so a study that was killed goes on as if it had not been.
    """

    def propose(self, trials: Sequence["FrozenTrial"], /) -> Proposal:
        """The next point, given all finished trials in order."""
        ...


def derived_seed(seed: int, *address: int | str) -> int:
    """A 32-bit seed of its own for every address, such as the number of trials so far."""
    text = "\0".join(map(str, (seed, *address)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def unit_to_value(dimension: Dimension, unit: float) -> float:
    """From [0, 1] to the dimension's interval."""
    return dimension.low + (dimension.high - dimension.low) * min(max(unit, 0.0), 1.0)


def value_to_unit(dimension: Dimension, value: float) -> float:
    """From the dimension's interval to [0, 1]."""
    span = dimension.high - dimension.low
    return min(max((value - dimension.low) / span, 0.0), 1.0) if span else 0.5
