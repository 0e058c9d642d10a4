"""The loop of one search: ask, write into the model, score, tell the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from merge_ops.registry import Value
from objectives.errors import ObjectiveError
from objectives.records import ScoreSet
from search.proposer import Proposal, Proposer
from search.space import SearchSpace
from search.warm_start import WARM
from studies.evaluator import Evaluator
from studies.ledger import Ledger, Outcome
from studies.racing import Racer

_HOPELESS = 3  # so many failures and nothing else: the study itself is at fault


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends; the trial being scored is finished first.

    Attributes:
        trials: finished trials, those of earlier runs included; None for any number.
        deadline: `time.monotonic()` at which no further trial begins; None for never.
    """

    trials: int | None
    deadline: float | None

    def reached(self, finished: int) -> bool:
        """Whether no further trial may begin."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late or (self.trials is not None and finished >= self.trials)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What one search needs.

    Attributes:
        space: what varies.
        warm: the first points, in order.
        proposer: proposes all later ones.
        sampler: the proposer's name.
        racer: stops candidates early, or None.
    """

    space: SearchSpace
    warm: Sequence[dict[str, Value]]
    proposer: Proposer
    sampler: str
    racer: Racer | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search."""

    space: SearchSpace
    ledger: Ledger


def run_search(
    plan: SearchPlan,
    ledger: Ledger,
    evaluator: Evaluator,
    limits: Limits,
    on_trial: Callable[[FrozenTrial], None],
) -> None:
    """Score points until a limit is reached; goes on where an earlier run stopped.

    Raises:
        UserError: every trial fails; the reason is the first trial's.
    """
    while not limits.reached(len(ledger.trials)):
        start = time.perf_counter()
        proposal, source = _next(plan, ledger.trials)
        if proposal is None:
            return
        suggest = time.perf_counter() - start
        trial = ledger.tell(_score(plan, proposal, source, evaluator, suggest, ledger.trials))
        on_trial(trial)
        first = ledger.trials[:_HOPELESS]
        if len(first) == _HOPELESS == len(ledger.trials) and all(t.value is None for t in first):
            raise UserError(
                f"the first {_HOPELESS} trials failed: {first[0].user_attrs['reason']}"
            )


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
    """Score one point; a point that cannot be scored becomes a failed trial with its reason."""
    recipe = plan.space.decode(proposal.values)
    digest = evaluator.digest(recipe)
    racer, worth = plan.racer, list[float | None]([None])

    def stops(block: int, sets: tuple[ScoreSet, ...]) -> bool:
        assert racer is not None
        worth[0] = racer.verdict(block, sets, trials)
        return worth[0] is not None

    try:
        scored = evaluator.score(recipe, "selection", stops=stops if racer else None)
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
    found = Outcome(
        proposal.values, digest, source, scored.sets, value, "", seconds, proposal.tags
    )
    if racer is None or worth[0] is None:
        return found
    items = sum(len(own.scores) for own in scored.sets)
    return replace(found, scores=racer.in_order(scored.sets), stopped=items)
