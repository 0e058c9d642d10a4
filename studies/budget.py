"""When a search ends: at whichever limit of its budget comes first."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from search.feasibility import feasible, value_of
from search.front import front_of, gains, hypervolume, is_front
from search.naming import WARM
from studies.trial_facts import examples_of

TIME_OVER = "timeout: the time is over"


class TimeOverError(Exception):
    """The time of a search ended while a candidate was scored."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends; the trial being scored is finished first, unless the time is over.

    Attributes:
        trials: finished trials, those of earlier runs included; None for any number.
        deadline: `time.monotonic()` at which no further block of items begins; None for never. A
            clock that is set moves neither.
        items: examples scored on the selection split, over all trials.
        target: a selection score at which the search is content, if no guard is broken; of a
            front its hypervolume.
        patience: proposed trials in a row that were no better than the best before; the first
            points (`warm_start`) do not count, as they are no attempt to improve.
    """

    trials: int | None
    deadline: float | None = None
    items: int | None = None
    target: float | None = None
    patience: int | None = None

    def reached(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Which limit forbids a further trial, in words; None if one may begin."""
        if self.target is not None and (best := _reached(trials)) >= self.target:
            return f"target: {best:.4g} is at least {self.target:g}"
        if self.trials is not None and len(trials) >= self.trials:
            return f"trials: {len(trials)} are finished"
        if self.items is not None and (items := items_scored(trials)) >= self.items:
            return f"items: {items:,} examples are scored"
        if self.patience is not None and (idle := without_gain(trials)) >= self.patience:
            return f"patience: {idle} trials brought no gain"
        return TIME_OVER if self.late() else None

    def check_time(self) -> None:
        """Refuse to begin a further block of items.

        Raises:
            TimeOverError: the deadline has passed; its text is the reason, in words.
        """
        if self.late():
            raise TimeOverError(TIME_OVER)

    def late(self, seconds: float = 0.0) -> bool:
        """Whether the deadline will have passed in so many seconds."""
        return self.deadline is not None and time.monotonic() + seconds >= self.deadline


def items_scored(trials: Sequence[FrozenTrial]) -> int:
    """Examples that were scored on the selection split; of failed trials and copies none."""
    return sum(map(examples_of, trials))


def _reached(trials: Sequence[FrozenTrial]) -> float:
    """The best score so far, or of a front its hypervolume; guards must hold."""
    if is_front(trials):
        return hypervolume([t.values for t in front_of(trials)])
    scored = [v for t in trials if (v := value_of(t)) is not None and feasible(t)]
    return max(scored, default=float("-inf"))


def without_gain(trials: Sequence[FrozenTrial]) -> int:
    """Proposed trials since the last that was better than all before it, or widened the front."""
    idle = 0
    for trial, gained in zip(trials, gains(trials), strict=True):
        if gained:
            idle = 0
        elif trial.user_attrs["source"] != WARM:
            idle += 1
    return idle
