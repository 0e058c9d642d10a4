"""What a study and its tracker, two processes, say to each other: one question, one answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from optuna.trial import FrozenTrial

from studies.particulars import Particulars
from studies.tracking_summary import Summary

GIVE_UP = 2
"""Failures in a row after which a study that is over no longer waits."""
_LONGEST_PAUSE_S = 60.0


def pause_after(failures: int) -> float:
    """Seconds until the next attempt, after so many failures in a row."""
    return min(2.0**failures, _LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the tracker is.

    Attributes:
        mirrored: trials that are in the store.
        summarised: so is the summary of a study that ended.
        failing: the last attempt failed.
        errors: failed attempts, those that were made good included.
        last_error: the last one's message, in one line; may be empty.
        refused: why recipes or inputs were refused, in one line; empty if none was.
    """

    mirrored: int = 0
    summarised: bool = False
    failing: bool = False
    errors: int = 0
    last_error: str = ""
    refused: str = ""

    def failed(self, reason: str) -> "Progress":
        """After one more failure."""
        return replace(self, failing=True, errors=self.errors + 1, last_error=reason)


@dataclass(frozen=True, slots=True)
class Task:
    """What a tracker is for.

    Attributes:
        uri: an MLflow tracking address.
        experiment: the study's name.
        tags: for every run.
        system: whether to sample how busy the machine is.
        start: when the study began or went on, in milliseconds.
        progress: of a tracker that died before it.
    """

    uri: str
    experiment: str
    tags: Mapping[str, str]
    system: bool
    start: int
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True)
class Question:
    """What the tracker wants.

    Attributes:
        place: the first trial that it wants, as an index into the ledger.
        progress: how far it is.
        pause_s: it failed, and wants to be left alone for so many seconds; None if not.
        over: it has ended and waits for no answer.
    """

    place: int
    progress: Progress
    pause_s: float | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the study says.

    Attributes:
        trials: finished ones, from the wanted place on.
        more: there are others behind them.
        told: what the study is; None for whoever has trials of it already.
        closing: the study is over.
        summary: what it came to, once it is over; None if it was cut short.
    """

    trials: Sequence[FrozenTrial]
    more: bool
    told: Particulars | None
    closing: bool
    summary: Summary | None


Ask = Callable[[Question], Answer]
"""Raises EOFError where the study is gone."""
