"""The loop of one search: ask, write into the model, score, tell the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from merge_ops.registry import Value
from objectives.errors import ObjectiveError
from objectives.records import ScoreSet, check_finite
from search.proposer import Proposal, Proposer
from search.space import SearchSpace
from search.warm_start import WARM
from studies.breaker import hopeless
from studies.budget import Limits
from studies.evaluator import Evaluator
from studies.interruption import Interruption
from studies.ledger import Ledger, Outcome
from studies.racing import Racer
from studies.repeats import nothing_new, original
from studies.seed_average import score_over_seeds
from studies.trial_facts import SEEDS


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What one search needs.

    Attributes:
        space: what varies.
        warm: the first points, in order.
        proposer: proposes all later ones.
        sampler: the proposer's name.
        racer: stops candidates early, or None.
        seeds: of random masks, over which a candidate's scores are means.
    """

    space: SearchSpace
    warm: Sequence[dict[str, Value]]
    proposer: Proposer
    sampler: str
    racer: Racer | None = None
    seeds: int = 1


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
            on_trial(
                ledger.tell(_score(plan, proposal, source, evaluator, suggest, ledger.trials))
            )
        reason = hopeless(ledger.trials, begun)
        if reason is not None:
            raise UserError(reason)
        if (repeats := nothing_new(ledger.trials)) is not None:
            return repeats
    return ended


def _next(plan: SearchPlan, trials: Sequence[FrozenTrial]) -> tuple[Proposal | None, str]:
    """The next warm start, or the proposer's next point."""
    if len(trials) < len(plan.warm):
        return Proposal(plan.warm[len(trials)]), WARM
    return plan.proposer.propose(trials), plan.sampler


def _score(
    plan: SearchPlan,
    proposal: Proposal,
    source: str,
    evaluator: Evaluator,
    suggest: float,
    trials: Sequence[FrozenTrial],
) -> Outcome:
    """Score one point, or copy what is known of its recipe.

    A point that cannot be scored becomes a failed trial with its reason.
    """
    recipe = plan.space.decode(proposal.values)
    digest = evaluator.digest(recipe)
    known = original(trials, digest)
    if known is not None:
        seconds = {"suggest": suggest, "build": 0.0, "score": 0.0}
        return Outcome(
            proposal.values, digest, source, (), None, "", seconds, proposal.tags, copied=known
        )
    racer, worth = plan.racer, list[float | None]([None])

    def stops(block: int, sets: tuple[ScoreSet, ...]) -> bool:
        assert racer is not None
        worth[0] = racer.verdict(block, sets, trials)
        return worth[0] is not None

    try:
        if plan.seeds > 1:
            scored = score_over_seeds(evaluator, recipe, plan.seeds)
        else:
            scored = evaluator.score(recipe, "selection", stops=stops if racer else None)
        check_finite(scored.sets)
        value = evaluator.signal(scored.sets) if worth[0] is None else worth[0]
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
    tags = proposal.tags if plan.seeds == 1 else {**proposal.tags, SEEDS: plan.seeds}
    found = Outcome(proposal.values, digest, source, scored.sets, value, "", seconds, tags)
    if racer is None or worth[0] is None:
        return found
    items = sum(len(own.scores) for own in scored.sets)
    return replace(found, scores=racer.in_order(scored.sets), stopped=items)
