"""The loop of one search: ask, write into the model, score, tell the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from merge_ops.peak_memory import peak_memory, restart_peak
from merge_ops.recipe import Recipe
from merge_ops.registry import Value
from objectives.errors import ObjectiveError
from objectives.records import ScoreSet, check_finite
from search.naming import WARM
from search.proposer import Proposal, Proposer
from search.space import SearchSpace
from studies.breaker import hopeless
from studies.budget import Limits, TimeOverError
from studies.console import warn
from studies.evaluator import Evaluator
from studies.guards import Guards
from studies.half_scored import HalfScored, Part, forget_told
from studies.interruption import Interruption
from studies.ledger import Ledger, Outcome
from studies.racing import Racer
from studies.repeats import nothing_new, original
from studies.scorer import Scored, Scorer
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
        guards: floors that candidates must keep, or None.
        seeds: of random masks, over which a candidate's scores are means.
    """

    space: SearchSpace
    warm: Sequence[dict[str, Value]]
    proposer: Proposer
    sampler: str
    racer: Racer | None = None
    guards: Guards | None = None
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
        Stopped: somebody asked for it; the running block of items was finished and stored first.
    """
    begun = len(ledger.trials)

    def before_block() -> None:
        interruption.check()
        limits.check_time()

    forget_told(evaluator.folder, ledger.trials)
    while (ended := limits.reached(ledger.trials)) is None:
        try:
            with interruption.trial():
                trial = _run_trial(plan, ledger, evaluator, before_block)
                if trial is None:
                    return "the sampler has no further point"
                on_trial(trial)
        except TimeOverError as over:
            return str(over)
        reason = hopeless(ledger.trials, begun)
        if reason is not None:
            raise UserError(reason)
        if (repeats := nothing_new(ledger.trials)) is not None:
            return repeats
    return ended


def _run_trial(
    plan: SearchPlan, ledger: Ledger, evaluator: Evaluator, before_block: Callable[[], None]
) -> FrozenTrial | None:
    """Propose, score and tell one trial; None if there is no further point."""
    begun = time.monotonic()
    proposal, source = _next(plan, ledger.trials)
    if proposal is None:
        return None
    suggest = time.monotonic() - begun
    recipe = plan.space.decode(proposal.values)
    digest = evaluator.digest(recipe)
    half = HalfScored(evaluator.folder, digest)
    if len(half):
        warn(f"trial {len(ledger.trials)} goes on behind {len(half)} blocks scored before")
    parts = partial(Part, blocks=half, before_block=before_block)
    seconds = {"suggest": suggest}
    given = Outcome(
        proposal.values, digest, source, (), None, "", seconds, proposal.tags, begun=begun
    )
    restart_peak()
    outcome = _score(given, recipe, plan, evaluator, ledger.trials, parts)
    held = {} if outcome.copied else peak_memory()
    trial = ledger.tell(replace(outcome, memory=held))
    half.forget()
    return trial


def _next(plan: SearchPlan, trials: Sequence[FrozenTrial]) -> tuple[Proposal | None, str]:
    """The next warm start, or the proposer's next point."""
    if len(trials) < len(plan.warm):
        return Proposal(plan.warm[len(trials)]), WARM
    return plan.proposer.propose(trials), plan.sampler


def _score(
    given: Outcome,
    recipe: Recipe,
    plan: SearchPlan,
    evaluator: Evaluator,
    trials: Sequence[FrozenTrial],
    parts: Callable[[str], Part],
) -> Outcome:
    """Score one point, or copy what is known of its recipe.

    A point that cannot be scored becomes a failed trial with its reason.
    """
    known = original(trials, given.digest)
    if known is not None:
        return replace(given, seconds={**given.seconds, "build": 0.0, "score": 0.0}, copied=known)
    racer, worth = plan.racer, list[float | None]([None])

    def stops(block: int, sets: tuple[ScoreSet, ...]) -> bool:
        assert racer is not None
        worth[0] = racer.verdict(block, sets, trials)
        return worth[0] is not None

    try:
        if plan.seeds > 1:
            scored = score_over_seeds(evaluator, recipe, plan.seeds, parts)
        else:
            scored = evaluator.score(
                recipe, "selection", stops=stops if racer else None, parts=parts
            )
    except (UserError, ObjectiveError) as error:
        return replace(given, reason=str(error))
    return judged(given, scored, worth[0], plan, evaluator)


def judged(
    given: Outcome, scored: Scored, worth: float | None, plan: SearchPlan, evaluator: Scorer
) -> Outcome:
    """What became of a scored point.

    Args:
        given: what was known before.
        scored: its scores; the first blocks' where racing stopped it.
        worth: what it is worth then, or None.
        plan: who stopped it, and the floors that it must keep.
        evaluator: knows what the search maximises.
    """
    racer = plan.racer
    try:
        check_finite(scored.sets)
        value = evaluator.signal(scored.sets) if worth is None else worth
        guards = plan.guards.decide(scored.sets, "selection") if plan.guards else {}
    except (UserError, ObjectiveError) as error:
        return replace(given, reason=str(error))
    found = replace(
        given,
        sets=scored.sets,
        value=value,
        seconds={**given.seconds, **scored.seconds},
        tags=given.tags if plan.seeds == 1 else {**given.tags, SEEDS: plan.seeds},
        guards=guards,
        front=evaluator.aims(scored.sets),
    )
    if racer is None or worth is None:
        return found
    items = sum(len(own.scores) for own in scored.sets)
    return replace(found, scores=racer.in_order(scored.sets), stopped=items)
