"""The loop of one search: ask, write into the model, score, tell the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from merge_ops.registry import Value
from objectives.errors import ObjectiveError
from objectives.records import check_finite, combined
from search.proposer import Proposal, Proposer
from search.space import SearchSpace
from search.warm_start import WARM
from studies.breaker import hopeless
from studies.budget import Limits
from studies.evaluator import Evaluator
from studies.interruption import Interruption
from studies.ledger import Ledger, Outcome


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What one search needs.

    Attributes:
        space: what varies.
        warm: the first points, in order.
        proposer: proposes all later ones.
        sampler: the proposer's name.
    """

    space: SearchSpace
    warm: Sequence[dict[str, Value]]
    proposer: Proposer
    sampler: str


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search.

    Attributes:
        space: what varied.
        ledger: its trials.
        ended: which limit ended it, in words.
    """

    space: SearchSpace
    ledger: Ledger
    ended: str


def run_search(
    plan: SearchPlan,
    ledger: Ledger,
    evaluator: Evaluator,
    limits: Limits,
    interruption: Interruption,
    on_trial: Callable[[FrozenTrial], None],
) -> str:
    """Score points until a limit is reached; goes on where an earlier run stopped.

    Returns:
        Why it ended, in words.

    Raises:
        UserError: trials fail again and again; the reason is theirs.
        Stopped: somebody asked for it; the running trial was finished first.
    """
    begun = len(ledger.trials)
    while (ended := limits.reached(ledger.trials)) is None:
        with interruption.trial():
            start = time.perf_counter()
            proposal, source = _next(plan, ledger.trials)
            if proposal is None:
                return "the sampler has no further point"
            suggest = time.perf_counter() - start
            on_trial(ledger.tell(_score(plan.space, proposal, source, evaluator, suggest)))
        reason = hopeless(ledger.trials, begun)
        if reason is not None:
            raise UserError(reason)
    return ended


def _next(plan: SearchPlan, trials: Sequence[FrozenTrial]) -> tuple[Proposal | None, str]:
    """The next warm start, or the proposer's next point."""
    if len(trials) < len(plan.warm):
        return Proposal(plan.warm[len(trials)]), WARM
    return plan.proposer.propose(trials), plan.sampler


def _score(
    space: SearchSpace, proposal: Proposal, source: str, evaluator: Evaluator, suggest: float
) -> Outcome:
    """Score one point; a point that cannot be scored becomes a failed trial with its reason."""
    recipe = space.decode(proposal.values)
    digest = evaluator.digest(recipe)
    try:
        scored = evaluator.score(recipe, "selection")
        check_finite(scored.sets)
    except (UserError, ObjectiveError) as error:
        return Outcome(
            proposal.values,
            digest,
            source,
            (),
            None,
            str(error),
            {"suggest": suggest},
            proposal.tags,
        )
    seconds = {"suggest": suggest, **scored.seconds}
    value = combined(scored.sets)
    return Outcome(proposal.values, digest, source, scored.sets, value, "", seconds, proposal.tags)
