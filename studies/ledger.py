"""The ledger: every scored trial, in an Optuna journal; the one source of truth of a study."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from objectives.guard import Decision
from objectives.records import ScoreSet, figures
from search.dimension import Coordinate, Point
from search.optuna_proposer import distribution
from search.racing import STOPPED
from studies.disk import with_room
from studies.journal import GLOBAL, JOURNAL, SEARCH, Journal, read_journal, read_trials
from studies.journal_lines import (
    CLAIM,
    SAMPLER,
    Line,
    attribute_line,
    parsed,
    search_line,
    trial_line,
    trial_of,
)
from studies.mending import cut, mend
from studies.trial_facts import COPY_OF, FRONT, GUARDS

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


_COPIED = ("figures", "scores", "reason", STOPPED, GUARDS, FRONT)
"""What a trial takes over from the one that it is a copy of."""


class Ledger:
    """One search in a study's journal. Only one process may write to it at a time.

    A trial is written once, whole, when it is finished: of a trial that was being scored
    when a study was killed, `studies.half_scored` keeps the blocks.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        dimensions: Sequence[Coordinate],
        *,
        disk_wait: float = 0.0,
        objectives: int = 1,
    ) -> None:
        """Open or begin the search `name` in the journal of `folder`.

        Args:
            folder: the study's.
            name: of the search.
            dimensions: what it varies.
            disk_wait: seconds that a write waits for room on a full disk.
            objectives: values of a trial; 1 unless a front is searched.
        """
        self.name = name
        self.folder = self._folder = folder
        self._disk_wait = disk_wait
        path = folder / JOURNAL
        if path.is_symlink():
            raise UserError(f"{path}: a ledger is a file of its own, but this is a link.")
        mend(path)
        self._distributions = {d.name: distribution(d) for d in dimensions}
        known = read_journal(path) if path.exists() else Journal()
        self._claim = known.claims.get(name)
        self._sampler = known.samplers.get(name)
        self._trials: list[FrozenTrial] = known.searches.get(name, [])
        self._number = [*known.searches, name].index(name)
        if name not in known.searches:
            self._write(search_line(name, objectives))

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """All finished trials, in order."""
        return self._trials

    def tell(self, outcome: Outcome) -> FrozenTrial:
        """Write one finished trial."""
        if outcome.copied is not None:
            return self._add(self._copy(outcome, outcome.copied))
        failed = outcome.value is None
        attributes: dict[str, Any] = {
            "digest": outcome.digest,
            "source": outcome.source,
            "seconds": {k: round(v, 6) for k, v in outcome.seconds.items()},
            **outcome.tags,
        }
        if failed:
            attributes["reason"] = outcome.reason
        else:
            if outcome.stopped is None:
                attributes["figures"] = figures(outcome.sets)
            whole = {s.objective: [score.value for score in s.scores] for s in outcome.sets}
            attributes["scores"] = json.dumps(outcome.scores or whole, separators=(",", ":"))
            if outcome.guards:
                attributes[GUARDS] = {k: asdict(v) for k, v in outcome.guards.items()}
            if outcome.front:
                attributes[FRONT] = list(outcome.front)
        if outcome.stopped is not None:
            attributes[STOPPED] = outcome.stopped
        trial = create_trial(
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
            value=None if outcome.front else outcome.value,
            values=list(outcome.front.values()) or None,
            params=dict(outcome.values),
            distributions={k: self._distributions[k] for k in outcome.values},
            user_attrs=attributes,
            constraints={name: found.constraint for name, found in outcome.guards.items()},
        )
        return self._add(trial)

    def _copy(self, outcome: Outcome, known: FrozenTrial) -> FrozenTrial:
        """A trial with another's outcome."""
        taken = {key: known.user_attrs[key] for key in _COPIED if key in known.user_attrs}
        return create_trial(
            state=known.state,
            values=known.values,
            params=dict(outcome.values),
            distributions={k: self._distributions[k] for k in outcome.values},
            user_attrs={
                "digest": outcome.digest,
                "source": outcome.source,
                "seconds": {k: round(v, 6) for k, v in outcome.seconds.items()},
                **outcome.tags,
                **taken,
                COPY_OF: known.number,
            },
            constraints=known.constraints,
        )

    def _add(self, trial: FrozenTrial) -> FrozenTrial:
        """Append a trial to the journal; it is the same here as for whoever reads it there."""
        line = trial_line(self._number, trial)
        self._write(line)
        told = trial_of(parsed(json.dumps(line).encode()), len(self._trials))
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
            self._write(attribute_line(self._number, CLAIM, digest))
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
            self._write(attribute_line(self._number, SAMPLER, self._sampler))
        return self._sampler

    def _write(self, line: Line) -> None:
        """Append to the journal; what a full disk let through of a line is taken back first."""
        path = self._folder / JOURNAL
        size = path.stat().st_size if path.exists() else 0

        def write() -> None:
            JournalFileBackend(str(path)).append_logs([dict(line)])

        with_room(write, self._folder, self._disk_wait, lambda: cut(path, size))
