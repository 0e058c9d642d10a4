"""One search through workers: ask, give away, write down; alone with ledger and sampler."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from objectives.records import ScoreSet, check_finite
from search.in_flight import AFTER, SERIAL, Pending, serial_of
from search.proposer import Proposal
from search.warm_start import WARM
from studies.breaker import hopeless
from studies.budget import Limits
from studies.interruption import Interruption
from studies.ledger import Ledger, Outcome
from studies.search_loop import SearchPlan
from studies.workers.job import Job
from studies.workers.points import Asked, Points
from studies.workers.remote import RemoteEvaluator

_NO_POINT = "the sampler has no further point"


@dataclass(slots=True)
class Coordinator:
    """Asks the sampler for a point whenever a worker is idle, and tells the ledger each result.

    Trials stand in the ledger in the order of their results. Each says which proposal it was and
    after how many results, so that the whole search can be replayed from the ledger.

    Attributes:
        plan: what is searched, and by whom.
        ledger: written by nobody else.
        evaluator: through workers.
        limits: when it ends; what is in flight then is finished.
        interruption: ends it between two blocks.
        on_trial: told each finished trial.
        points: those in flight.
    """

    plan: SearchPlan
    ledger: Ledger
    evaluator: RemoteEvaluator
    limits: Limits
    interruption: Interruption
    on_trial: Callable[[FrozenTrial], None]
    points: Points
    _asked: dict[int, Asked] = field(default_factory=dict)
    _worth: dict[int, float] = field(default_factory=dict)
    _left: list[Asked] = field(default_factory=list)
    _ended: str | None = None
    _begun: int = 0
    _hopeless: str | None = None
    _serials: set[int] = field(default_factory=set)
    _next_serial: int = 0

    def run(self) -> str:
        """Score points until a limit is reached; goes on where an earlier run stopped.

        Returns:
            Why it ended, in words.

        Raises:
            UserError: trials fail again and again, or no worker is left.
            Stopped: somebody asked for it; the blocks that were being scored are kept.
        """
        self._begun = len(self.ledger.trials)
        self._serials = {serial_of(t) for t in self.ledger.trials} | self.points.open.keys()
        self._left = [self.points.open[serial] for serial in sorted(self.points.open)]
        with self.interruption.trial():
            self.evaluator.scheduler.run(self._next, self._told, self._halted)
        if self._hopeless:
            raise UserError(self._hopeless)
        self.points.forget()
        return self._ended or _NO_POINT

    def _halted(self) -> bool:
        """Whether no further block is to be given away; what is being scored is still kept."""
        return self._hopeless is not None or self.interruption.asked

    def _next(self) -> Job | None:
        """What an idle worker shall score: a point that an earlier run left, or a new one."""
        while self._left:
            asked = self._left.pop(0)
            job = self._job(asked)
            if job is not None:
                return job
        while (asked_now := self._ask()) is not None:
            job = self._job(asked_now)
            if job is not None:
                return job
        return None

    def _ask(self) -> Asked | None:
        """A new point, unless a limit forbids it; it is written down before it is scored."""
        trials, pending = self.ledger.trials, self.points.pending()
        self._ended = self.limits.reached(trials)
        if self._ended:
            return None
        if self.limits.trials is not None and len(trials) + len(pending) >= self.limits.trials:
            return None
        start = time.perf_counter()
        proposal, source = self._propose(pending)
        if proposal is None:
            return None
        suggest = time.perf_counter() - start
        point = Pending(self._serial(), len(trials), proposal.values, proposal.tags)
        self._serials.add(point.serial)
        asked = Asked(point, source, suggest)
        self.points.add(asked)
        return asked

    def _propose(self, pending: list[Pending]) -> tuple[Proposal | None, str]:
        """The first warm start that was not proposed yet, or the sampler's point."""
        trials, plan = self.ledger.trials, self.plan
        serial = self._serial()
        if serial < len(plan.warm):
            return Proposal(plan.warm[serial]), WARM
        return plan.proposer.propose(trials, pending), plan.sampler

    def _serial(self) -> int:
        """The next proposal's number: the first that no trial and no point in flight has."""
        while self._next_serial in self._serials:
            self._next_serial += 1
        return self._next_serial

    def _job(self, asked: Asked) -> Job | None:
        """The job of a point; one that cannot even begin becomes a failed trial."""
        recipe = self.plan.space.decode(asked.point.values)
        serial = asked.point.serial

        def stops(block: int, sets: tuple[ScoreSet, ...]) -> bool:
            if self.plan.racer is None:
                return False
            worth = self.plan.racer.verdict(block, sets, self.ledger.trials)
            if worth is not None:
                self._worth[serial] = worth
            return worth is not None

        try:
            job = self.evaluator.job(recipe, "selection", stops=stops)
        except (UserError, ObjectiveError) as error:
            self._tell(asked, replace(self._blank(asked), reason=str(error)))
            return None
        self._asked[job.number] = asked
        return job

    def _told(self, job: Job) -> None:
        """A job has ended: one whole trial into the ledger."""
        asked = self._asked.pop(job.number)
        self._tell(asked, self._outcome(asked, job))

    def _tell(self, asked: Asked, outcome: Outcome) -> None:
        self.on_trial(self.ledger.tell(outcome))
        self.points.told(asked.point.serial)
        self._hopeless = self._hopeless or hopeless(self.ledger.trials, self._begun)

    def _blank(self, asked: Asked) -> Outcome:
        """What is known of a trial before it is scored."""
        point = asked.point
        digest = self.evaluator.digest(self.plan.space.decode(point.values))
        tags = {**point.tags, SERIAL: point.serial, AFTER: point.after}
        seconds = {"suggest": asked.suggest}
        return Outcome(point.values, digest, asked.source, (), None, "", seconds, tags)

    def _outcome(self, asked: Asked, job: Job) -> Outcome:
        """What became of a point; one that could not be scored is a failed trial."""
        blank, worth = self._blank(asked), self._worth.pop(asked.point.serial, None)
        if job.reason:
            return replace(blank, reason=job.reason)
        scored = self.evaluator.scored(job)
        try:
            check_finite(scored.sets)
            value = self.evaluator.signal(scored.sets) if worth is None else worth
        except (UserError, ObjectiveError) as error:
            return replace(blank, reason=str(error))
        seconds = {**blank.seconds, **scored.seconds}
        found = replace(blank, sets=scored.sets, value=value, seconds=seconds)
        racer = self.plan.racer
        if racer is None or worth is None:
            return found
        items = sum(len(own.scores) for own in scored.sets)
        return replace(found, scores=racer.in_order(scored.sets), stopped=items)
