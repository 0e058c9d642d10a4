"""Searchable numbers, and those that several merge methods share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Knob:
    """A searchable number in [low, high]; a recipe may go beyond what a search tries.

    Attributes:
        per_expert: the method takes one value per expert rather than one for all.
        log: a sampler should search it on a logarithmic scale.
        whole: one whole number for the whole recipe, without filters or depth.
        default: the value where a recipe is silent; the registry takes it from the function's
            signature when the knob has one value for all.
    """

    low: float
    high: float
    per_expert: bool = False
    log: bool = False
    default: float = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"`low < high` (and `0 < low` if log) must hold, but got {self}.")


Shares = Annotated[Sequence[float], Knob(0.0, 1.0, per_expert=True)]
"""Weights of an average, one per expert."""

Weights = Annotated[Sequence[float], Knob(-1.0, 2.0, per_expert=True)]
"""Weights of task vectors, one per expert."""

Densities = Annotated[Sequence[float], Knob(0.05, 1.0, per_expert=True)]
"""Shares of the task vectors' entries that are kept, one per expert."""

Scale = Annotated[float, Knob(0.0, 2.0)]
"""What multiplies the merged task vector."""
