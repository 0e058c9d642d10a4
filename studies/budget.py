"""When a search ends: at whichever limit of its budget comes first."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from optuna.trial import FrozenTrial

from search.warm_start import WARM


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends; the trial being scored is finished first.

    Attributes:
        trials: finished trials, those of earlier runs included; None for any number.
        deadline: `time.monotonic()` at which no further trial begins; None for never. A clock that
            is set moves neither.
        items: examples scored on the selection split, over all trials.
        target: a selection score at which the search is content.
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
        scored = [t.value for t in trials if t.value is not None]
        if self.target is not None and scored and max(scored) >= self.target:
            return f"target: {max(scored):.4g} is at least {self.target:g}"
        if self.trials is not None and len(trials) >= self.trials:
            return f"trials: {len(trials)} are finished"
        if self.items is not None and (items := items_scored(trials)) >= self.items:
            return f"items: {items:,} examples are scored"
        if self.patience is not None and (idle := without_gain(trials)) >= self.patience:
            return f"patience: {idle} trials brought no gain"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "timeout: the time is over"
        return None


def items_scored(trials: Sequence[FrozenTrial]) -> int:
    """Examples that were scored on the selection split; those of failed trials do not count."""
    return sum(_items(trial.user_attrs.get("scores", "{}")) for trial in trials)


@lru_cache(maxsize=100_000)
def _items(scores: str) -> int:
    """Counted once a trial: the limits are asked before each."""
    kept = json.loads(scores).values()
    return sum(value is not None for values in kept for value in values)


def without_gain(trials: Sequence[FrozenTrial]) -> int:
    """Proposed trials since the last that was better than all before it."""
    best, idle = float("-inf"), 0
    for trial in trials:
        gained = trial.value is not None and trial.value > best
        if gained:
            best, idle = trial.value or 0.0, 0
        elif trial.user_attrs["source"] != WARM:
            idle += 1
    return idle
