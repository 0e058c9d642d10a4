"""The samplers by the names that a study file uses."""

from collections.abc import Sequence

from search.proposer import Proposer
from search.space import Dimension

SAMPLERS = ("tpe", "cma", "random")


def make_proposer(name: str, dimensions: Sequence[Dimension], seed: int) -> Proposer:
    """A proposer over `dimensions`.

    Args:
        name: one of `SAMPLERS`.
        dimensions: what is searched.
        seed: the study's; the same seed and trials give the same proposals.
    """
    if name == "cma":
        from search.cma_proposer import CmaProposer

        return CmaProposer(dimensions, seed)
    from search.optuna_proposer import OptunaProposer

    return OptunaProposer(name, dimensions, seed)
