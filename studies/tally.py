"""What is known of one search while it runs; each trial is looked at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from search.feasibility import order, value_of
from search.racing import STOPPED
from studies.trial_facts import is_copy


@dataclass(slots=True)
class Tally:
    """Counts of finished trials, and the best of them; ten thousand cost no more than ten.

    Attributes:
        whole: examples of the selection split, all objectives together; 0 where it is not known.
        trials: the finished ones, in order.
        best: the best as `studies.status.best_of` tells it; None where none has a score.
        scores: of each trial, None where it failed.
        failed: trials without a score.
        stopped: trials that racing stopped.
        raced: examples scored of those that racing might have stopped.
        offered: examples that there were for them.
    """

    whole: int = 0
    trials: list[FrozenTrial] = field(default_factory=list)
    best: FrozenTrial | None = None
    scores: list[float | None] = field(default_factory=list)
    failed: int = 0
    stopped: int = 0
    raced: int = 0
    offered: int = 0

    def add(self, trials: Iterable[FrozenTrial]) -> None:
        """Count further finished trials."""
        for trial in trials:
            self._add(trial)

    def _add(self, trial: FrozenTrial) -> None:
        value = value_of(trial)
        self.trials.append(trial)
        self.scores.append(value)
        if value is None:
            self.failed += 1
            return
        if self.best is None or _rank(trial) < _rank(self.best):
            self.best = trial
        if not is_copy(trial):
            stopped = trial.user_attrs.get(STOPPED)
            self.stopped += stopped is not None
            self.raced += self.whole if stopped is None else int(stopped)
            self.offered += self.whole

    @property
    def saved(self) -> float:
        """The share of examples that racing saved."""
        return 1 - self.raced / self.offered if self.offered else 0.0


def _rank(trial: FrozenTrial) -> tuple[bool, tuple[float, float, int]]:
    """Sorts trials, the best first; those that were stopped stand behind those scored in full."""
    return STOPPED in trial.user_attrs, order(trial)
