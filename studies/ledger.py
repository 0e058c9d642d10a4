"""The ledger: every scored trial, as Optuna keeps trials; the one source of truth of a study."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from objectives.guard import Decision
from objectives.records import ScoreSet, figures
from search.dimension import Coordinate, Point
from search.optuna_proposer import distribution
from search.racing import STOPPED
from studies.journal import GLOBAL, JOURNAL, SEARCH, read_trials
from studies.journal_lines import CLAIM, SAMPLER
from studies.ledger_store import open_store
from studies.place import Address
from studies.trial_facts import COPY_OF, FRONT, GUARDS, ITEMS, MEMORY, SEEDS, scores_text

__all__ = ["GLOBAL", "JOURNAL", "SEARCH", "Ledger", "Outcome", "read_trials"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one point.

    Attributes:
        values: the point, by dimension.
        digest: of the recipe it decodes to.
        source: who proposed it: "warm start", or the sampler's name.
        sets: per-example scores on the selection split; empty if the trial failed.
        value: the combined score, or None if the trial failed.
        reason: why it failed, or an empty string.
        seconds: by phase: suggest, build, score.
        tags: what the proposer keeps with its trials.
        scores: per-example scores by objective, in the order of the data; None where racing
            stopped the trial before. Taken from `sets` if left out.
        stopped: how many items it was scored on when racing stopped it, or None.
        guards: how it stands to each guard; the ledger keeps them as Optuna's constraints.
        front: its values by name where a front is searched; `value` is their mean.
        copied: the trial whose outcome it takes without being scored, or None.
        memory: the most bytes that were held while it was built and scored: `host`, `device`.
        begun: when that process began with it, on the clock of `time.monotonic`; None if unknown.
    """

    values: Point
    digest: str
    source: str
    sets: Sequence[ScoreSet]
    value: float | None
    reason: str
    seconds: Mapping[str, float]
    tags: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Sequence[float | None]] | None = None
    stopped: int | None = None
    guards: Mapping[str, Decision] = field(default_factory=dict)
    front: Mapping[str, float] = field(default_factory=dict)
    copied: FrozenTrial | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    begun: float | None = None


_COPIED = ("figures", "scores", "reason", STOPPED, GUARDS, FRONT)
"""What a trial takes over from the one that it is a copy of."""


def _items(outcome: Outcome) -> int:
    """How many items it was scored on; 0 if it failed."""
    if outcome.stopped is not None:
        return outcome.stopped
    return sum(len(one.scores) for one in outcome.sets) * int(outcome.tags.get(SEEDS, 1))


class Ledger:
    """One search of a study, in its folder's journal or elsewhere (`LedgerStore`).

    Only one process may write to it at a time.

    A trial is written once, whole, when it is finished: of a trial that was being scored
    when a study was killed, `studies.half_scored` keeps the blocks. How long writing it took a
    trial cannot say: its `seconds.record` is what writing the one before it took in this process.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        dimensions: Sequence[Coordinate],
        *,
        disk_wait: float = 0.0,
        objectives: int = 1,
        address: Address | None = None,
    ) -> None:
        """Open or begin the search `name` of the study of `folder`.

        Args:
            folder: the study's.
            name: of the search.
            dimensions: what it varies.
            disk_wait: seconds that a write waits for room on a full disk.
            objectives: values of a trial; 1 unless a front is searched.
            address: of the storage that holds the ledger; None for a journal in the folder.

        Raises:
            UserError: the ledger cannot be opened, or lies elsewhere.
        """
        self.name = name
        self.folder = self._folder = folder
        self._store = open_store(folder, address, disk_wait)
        self._distributions = {d.name: distribution(d) for d in dimensions}
        known = self._store.read()
        self._claim = known.claims.get(name)
        self._sampler = known.samplers.get(name)
        self._trials: list[FrozenTrial] = known.searches.get(name, [])
        self._recorded = 0.0
        if name not in known.searches:
            self._store.begin(name, objectives)

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All finished trials, in order."""
        return self._trials

    def tell(self, outcome: Outcome) -> FrozenTrial:
        """Write one finished trial."""
        ended = datetime.now()
        if outcome.copied is not None:
            trial = self._copy(outcome, outcome.copied)
        else:
            trial = self._scored(outcome)
        taken = 0.0 if outcome.begun is None else time.monotonic() - outcome.begun
        trial.datetime_complete = ended
        trial.datetime_start = ended - timedelta(seconds=taken)  # whatever was done to the clock
        return self._add(trial)

    def _scored(self, outcome: Outcome) -> FrozenTrial:
        """A trial that was scored, or that failed."""
        failed = outcome.value is None
        attributes = self._facts(outcome, _items(outcome))
        if failed:
            attributes["reason"] = outcome.reason
        else:
            if outcome.stopped is None:
                attributes["figures"] = figures(outcome.sets)
            whole = {s.objective: [score.value for score in s.scores] for s in outcome.sets}
            attributes["scores"] = scores_text(outcome.scores or whole)
            if outcome.guards:
                attributes[GUARDS] = {k: asdict(v) for k, v in outcome.guards.items()}
            if outcome.front:
                attributes[FRONT] = list(outcome.front)
        if outcome.stopped is not None:
            attributes[STOPPED] = outcome.stopped
        return create_trial(
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
            value=None if outcome.front else outcome.value,
            values=list(outcome.front.values()) or None,
            params=dict(outcome.values),
            distributions={k: self._distributions[k] for k in outcome.values},
            user_attrs=attributes,
            constraints={name: found.constraint for name, found in outcome.guards.items()},
        )

    def _facts(self, outcome: Outcome, items: int) -> dict[str, Any]:
        """What every trial says of itself."""
        seconds = {**outcome.seconds, "record": self._recorded}
        return {
            "digest": outcome.digest,
            "source": outcome.source,
            "seconds": {k: round(v, 6) for k, v in seconds.items()},
            ITEMS: items,
            **({MEMORY: dict(outcome.memory)} if outcome.memory else {}),
            **outcome.tags,
        }

    def _copy(self, outcome: Outcome, known: FrozenTrial) -> FrozenTrial:
        """A trial with another's outcome."""
        taken = {key: known.user_attrs[key] for key in _COPIED if key in known.user_attrs}
        return create_trial(
            state=known.state,
            values=known.values,
            params=dict(outcome.values),
            distributions={k: self._distributions[k] for k in outcome.values},
            user_attrs={**self._facts(outcome, 0), **taken, COPY_OF: known.number},
            constraints=known.constraints,
        )

    def _add(self, trial: FrozenTrial) -> FrozenTrial:
        """Write a trial down; it is the same here as for whoever reads it there."""
        begun = time.perf_counter()
        told = self._store.add(self.name, trial, len(self._trials))
        self._recorded = time.perf_counter() - begun
        self._trials = [*self._trials, told]  # a new list: others hold what was there before
        return told

    def claim(self, digest: str) -> None:
        """Bind the search to the study that fills it.

        Args:
            digest: of all that decides its trials.

        Raises:
            UserError: the ledger was begun by a study with other settings.
        """
        if self._claim is None:
            self._store.note(self.name, CLAIM, digest)
            self._claim = digest
        if self._claim != digest:
            raise UserError(
                f"{self._folder}: its trials were scored with another study file or other models, "
                "and scores of two studies cannot be mixed. Undo the change, or choose another "
                "`out` folder; the budget and tracking may change freely."
            )

    def keep_sampler(self, name: str) -> str:
        """The sampler with which the search began; the first one told is written down.

        What `auto` stands for depends on the budget and the workers, which may change between two
        runs; the points that one sampler proposed are the only state of the next.
        """
        if self._sampler is None:
            self._sampler = name
            self._store.note(self.name, SAMPLER, self._sampler)
        return self._sampler
