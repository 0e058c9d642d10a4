"""The samplers by the names that a study file uses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from merge_ops.errors import UserError
from search.auto import advise
from search.dimension import Choice, Coordinate
from search.in_flight import Pending
from search.proposer import Proposal, Proposer

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Sampler = Literal["auto", "tpe", "gp", "cma", "nsga2", "m2n2", "qmc", "random", "grid"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
ONLY = "only candidate"
"""Who proposes the one point of a space without dimensions."""

FRONTS = ("tpe", "gp", "nsga2", "qmc", "random", "grid")
"""Those that take several values at once."""


class OnlyPoint:
    """Proposes the one point of a space without dimensions."""

    def propose(
        self, _trials: Sequence["FrozenTrial"], _pending: Sequence[Pending] = (), /
    ) -> Proposal:
        """The point, whatever was scored before."""
        return Proposal({})


def resolve_sampler(
    name: str,
    dimensions: Sequence[Coordinate],
    budget: int | None,
    objectives: int = 1,
    workers: int = 1,
) -> str:
    """The sampler that is meant: `auto` chooses by dimension, budget, objectives and workers.

    Raises:
        UserError: the sampler cannot search this.
    """
    if name == "auto":
        name = advise(dimensions, budget, objectives, workers).sampler
    if objectives > 1 and name not in FRONTS:
        raise UserError(
            f"sampler {name} follows one figure, but the study asks for a front of {objectives}; "
            f"use one of {', '.join(FRONTS)}."
        )
    lists = [d.name for d in dimensions if isinstance(d, Choice) and d.ranked() is None]
    if name == "cma" and lists:
        raise UserError(
            f"sampler cma walks along an order of values, and those of {lists[0]} have none; use "
            "sampler: tpe, or list two values."
        )
    return name


def make_proposer(
    name: str,
    dimensions: Sequence[Coordinate],
    seed: int,
    budget: int | None = None,
    objectives: int = 1,
) -> Proposer:
    """A proposer over `dimensions`.

    Args:
        name: one of `SAMPLERS`.
        dimensions: what is searched; without any there is one point, whatever the name.
        seed: the study's; the same seed and trials give the same proposals.
        budget: trials of the search, if they are limited.
        objectives: how many figures a trial has; 1 unless a front is searched.

    Raises:
        UserError: the sampler cannot search this.
    """
    if not dimensions:
        return OnlyPoint()
    name = resolve_sampler(name, dimensions, budget, objectives)
    if name == "cma":
        from search.cma_proposer import CmaProposer

        return CmaProposer(dimensions, seed)
    if name == "qmc":
        from search.qmc_proposer import QmcProposer

        return QmcProposer(dimensions, seed)
    if name == "grid":
        from search.grid_proposer import GridProposer

        return GridProposer(dimensions, seed, budget or 1000)
    if name == "m2n2":
        from search.m2n2_proposer import M2n2Proposer

        return M2n2Proposer(dimensions, seed)
    if name == "nsga2":
        from search.nsga_proposer import NsgaProposer

        return NsgaProposer(dimensions, seed, budget, objectives)
    from search.optuna_proposer import OptunaProposer

    return OptunaProposer(name, dimensions, seed, objectives)
