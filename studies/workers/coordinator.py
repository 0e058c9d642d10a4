"""One search through workers: ask, give away, write down; alone with ledger and sampler."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from objectives.records import ScoreSet
from search.in_flight import AFTER, SERIAL, Pending, serial_of
from search.naming import WARM
from search.proposer import Proposal
from studies.breaker import hopeless
from studies.budget import TIME_OVER, Limits
from studies.half_scored import HalfScored, forget_told
from studies.interruption import Interruption
from studies.ledger import Ledger, Outcome
from studies.repeats import nothing_new, original
from studies.search_loop import SearchPlan, judged
from studies.workers.job import Job
from studies.workers.points import Asked, Points
from studies.workers.remote import RemoteEvaluator
from studies.workers.scheduler import AT_ONCE

_NO_POINT = "the sampler has no further point"


def coordinate(
    plan: SearchPlan,
    ledger: Ledger,
    evaluator: RemoteEvaluator,
    limits: Limits,
    interruption: Interruption,
    on_trial: Callable[[FrozenTrial], None],
) -> str:
    """What `run_search` is to one live model; returns why the search ended, in words.

    Raises:
        UserError: trials fail again and again, or no worker is left.
        Stopped: somebody asked for it; the blocks that were being scored are kept.
    """
    points = Points(ledger.folder, ledger.name, ledger.trials)
    return Coordinator(plan, ledger, evaluator, limits, interruption, on_trial, points).run()


@dataclass(slots=True)
class Coordinator:
    """Asks the sampler for a point whenever a worker is idle, and tells the ledger each result.

    Trials stand in the ledger in the order of their results. Each says which proposal it was and
    after how many results, so that the whole search can be replayed from the ledger.

    Attributes:
        plan: what is searched, and by whom.
        ledger: written by nobody else.
        evaluator: through workers.
        limits: when it ends; what is in flight then is finished, unless the time is over.
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
    _digests: dict[int, str] = field(default_factory=dict)
    _known: dict[str, list[FrozenTrial]] = field(default_factory=dict)
    _stores: dict[str, HalfScored] = field(default_factory=dict)
    _began: dict[int, float] = field(default_factory=dict)
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
        forget_told(self.evaluator.folder, self.ledger.trials)
        for trial in self.ledger.trials:
            self._know(trial)
        self._serials = {serial_of(t) for t in self.ledger.trials} | self.points.open.keys()
        self._left = [self.points.open[serial] for serial in sorted(self.points.open)]
        with self.interruption.trial():
            self.evaluator.scheduler.run(self._next, self._told, self._halted, self._plenty)
        if self._hopeless:
            raise UserError(self._hopeless)
        self.points.forget()
        return self._ended or _NO_POINT

    def _halted(self) -> bool:
        """Whether no further block is to be given away; what is being scored is still kept."""
        if self.limits.late():
            self._ended = TIME_OVER
        return self._ended == TIME_OVER or self._hopeless is not None or self.interruption.asked

    def _plenty(self, count: int) -> bool:
        """Whether so many further trials may begin: else their blocks are shared one by one."""
        if self.limits.late(AT_ONCE):
            return False
        begun = len(self.ledger.trials) + len(self.points.open)
        return self.limits.trials is None or self.limits.trials - begun >= count

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
        self._ended = self.limits.reached(trials) or nothing_new(trials)
        if self._ended:
            return None
        if self.limits.trials is not None and len(trials) + len(pending) >= self.limits.trials:
            return None
        begun, start = time.monotonic(), time.perf_counter()
        proposal, source = self._propose(pending)
        if proposal is None:
            return None
        suggest = time.perf_counter() - start
        point = Pending(self._serial(), len(trials), proposal.values, proposal.tags)
        self._serials.add(point.serial)
        self._began[point.serial] = begun
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
        self._began.setdefault(serial, time.monotonic())  # that of a point left by an earlier run

        racer = self.plan.racer

        def stops(block: int, sets: tuple[ScoreSet, ...]) -> bool:
            assert racer is not None
            worth = racer.verdict(block, sets, self.ledger.trials)
            if worth is not None:
                self._worth[serial] = worth
            return worth is not None

        digest = self.evaluator.digest(recipe)
        store = self._stores.setdefault(digest, HalfScored(self.evaluator.folder, digest))
        self._digests[serial] = digest
        known = original(self._known.get(digest, ()), digest)
        if known is not None:
            self._tell(asked, replace(self._blank(asked), copied=known))
            return None
        try:
            looks = stops if racer else None
            job = self.evaluator.job(
                recipe, "selection", stops=looks, store=store, seeds=self.plan.seeds
            )
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
        trial = self.ledger.tell(outcome)
        del self._began[asked.point.serial]
        self._know(trial)
        self.on_trial(trial)
        self.points.told(asked.point.serial)
        digest = self._digests.pop(asked.point.serial)
        if digest not in self._digests.values():  # equal points share their blocks
            self._stores.pop(digest).forget()
        self._hopeless = self._hopeless or hopeless(self.ledger.trials, self._begun)

    def _know(self, trial: FrozenTrial) -> None:
        """Find it by its digest from now on, however many trials there are."""
        self._known.setdefault(trial.user_attrs["digest"], []).append(trial)

    def _blank(self, asked: Asked) -> Outcome:
        """What is known of a trial before it is scored."""
        point = asked.point
        digest = self._digests[point.serial]
        tags = {**point.tags, SERIAL: point.serial, AFTER: point.after}
        seconds, begun = {"suggest": asked.suggest}, self._began[point.serial]
        return Outcome(
            point.values, digest, asked.source, (), None, "", seconds, tags, begun=begun
        )

    def _outcome(self, asked: Asked, job: Job) -> Outcome:
        """What became of a point; one that could not be scored is a failed trial."""
        blank, worth = self._blank(asked), self._worth.pop(asked.point.serial, None)
        blank = replace(blank, memory=job.memory)
        if job.reason:
            return replace(blank, reason=job.reason)
        scored = self.evaluator.scored(job)
        return judged(blank, scored, worth, self.plan, self.evaluator)
