"""A merge method as one expression over the elements of a tensor: what the engine's kernels run.

A method that can be written so declares `Traits.formula`, a function from facts about the tensor
and the method's parameters to a `Formula`; the function itself stays the definition, and a law
checks that both give the same bits. The operands are what `Traits.operands` says: the experts'
task vectors, to whose sum the base is added, or the models' weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Largest:
    """Keep `count` entries of one operand after its `skip` largest, ties in index order."""

    count: int
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """Keep an entry of one operand with probability `density` (see `merge_ops.masks`)."""

    density: float


Selection = Sequence[Largest] | Sequence[Drawn]


@dataclass(frozen=True, slots=True)
class Formula:
    """Sum w_i x_i over the operands x_i, or their elected sum; then the base is added, if any.

    Attributes:
        weights: w_i, one per operand.
        from_base: where the method's operands are weights, the base is the first of them.
        select: which entries of each operand count, one entry per operand; empty for all.
        elect: only entries of the elected sign count, as in TIES.
        shares: with `elect`, each element is divided by the sum of the shares that agree there.
        scale: with `elect`, what multiplies the elected sum.
    """

    weights: Sequence[float]
    from_base: bool = False
    select: Selection = ()
    elect: bool = False
    shares: Sequence[float] = ()
    scale: float = 1.0


class Facts(Protocol):
    """What a formula may know about one tensor; found once per study."""

    @property
    def numel(self) -> int:
        """Its number of elements."""

    def cosine(self) -> float:
        """Cosine of the angle between the base and the only expert as flat vectors, float32."""
