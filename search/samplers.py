"""The samplers by the names that a study file uses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.dimension import Coordinate
from search.proposer import Proposal, Proposer

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "cma", "random")
ONLY = "only candidate"
"""Who proposes the one point of a space without dimensions."""


class OnlyPoint:
    """Proposes the one point of a space without dimensions."""

    def propose(self, _trials: Sequence["FrozenTrial"], /) -> Proposal:
        """The point, whatever was scored before."""
        return Proposal({})


def make_proposer(name: str, dimensions: Sequence[Coordinate], seed: int) -> Proposer:
    """A proposer over `dimensions`.

    Args:
        name: one of `SAMPLERS`.
        dimensions: what is searched; without any there is one point, whatever the name.
        seed: the study's; the same seed and trials give the same proposals.
    """
    if not dimensions:
        return OnlyPoint()
    if name == "cma":
        from search.cma_proposer import CmaProposer

        return CmaProposer(dimensions, seed)
    from search.optuna_proposer import OptunaProposer

    return OptunaProposer(name, dimensions, seed)
