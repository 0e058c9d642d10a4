"""Figures of a running search that take a while, worked out at most 0.5 % of the time."""

import time
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial

from objectives.statistics import Interval, interval
from search.front import is_front
from studies.about import score_sets
from studies.front_words import front_so_far
from studies.painter import REST
from studies.shrunken import shrunken
from studies.tally import Tally
from studies.trial_facts import scores_of


class LiveFigures:
    """The best trial's interval and shrunken score, as in `mergetuna status`, and the front.

    Attributes:
        best: the trial that they are of.
        interval: of its score on the selection split; None where too little is known.
        shrunken: what is believed of it; None where it cannot be told.
        front: what a front has come to, in words; empty where none is searched.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        """Args: what `studies.about.read_about` gives."""
        self._about = about
        self._trials = 0
        self._due = 0.0
        self.best: FrozenTrial | None = None
        self.interval: Interval | None = None
        self.shrunken: float | None = None
        self.front = ""

    def follow(self, tally: Tally, *, at_once: bool = False) -> None:
        """Work them out anew if trials were added, and if the last time lies back long enough."""
        count = len(tally.trials)
        if count == self._trials or (time.monotonic() < self._due and not at_once):
            return
        begun = time.thread_time()
        self._trials = count
        self._follow(tally)
        self._due = time.monotonic() + REST * (time.thread_time() - begun)

    def _follow(self, tally: Tally) -> None:
        trials, best = tally.trials[: self._trials], tally.best
        if best is not None and best is not self.best:
            sets = score_sets(self._about, scores_of(best))
            self.interval = interval(sets) if sets else None
        self.shrunken = None if best is None else shrunken(self._about, trials).get(best.number)
        self.front = front_so_far(trials) if is_front(trials) else ""
        self.best = best


def memory_words() -> str:
    """What this process holds, and what is in use of each device that it has put something on."""
    from merge_ops.memory import device_memory, process_memory

    words = [
        f"{used / 1e9:.1f} of {total / 1e9:.1f} GB on {d}" for d, used, total in device_memory()
    ]
    return ", ".join([*words, f"{process_memory() / 1e9:.1f} GB of main memory for this process"])
