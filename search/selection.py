"""The final choice: the best few of the selection split are scored again on the confirm split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives.records import ScoreSet, combined
from search.racing import STOPPED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A finalist.

    Attributes:
        trial: as found by the search.
        selection: its score on the selection split, which flatters the best of many.
        confirm: its scores on the confirm split.
    """

    trial: "FrozenTrial"
    selection: float
    confirm: tuple[ScoreSet, ...]

    def value(self) -> float:
        """The figure that decides."""
        return combined(self.confirm)


def finalists(trials: Sequence["FrozenTrial"], count: int) -> list["FrozenTrial"]:
    """The best trials that were scored on the whole split, different recipes only, in order."""
    scored = [t for t in trials if t.value is not None and STOPPED not in t.user_attrs]
    best: dict[str, FrozenTrial] = {}
    for trial in sorted(scored, key=lambda t: (-(t.value or 0.0), t.number)):
        best.setdefault(trial.user_attrs["digest"], trial)
    return list(best.values())[:count]


def confirm(
    trials: Sequence["FrozenTrial"],
    count: int,
    score: Callable[["FrozenTrial"], Sequence[ScoreSet]],
) -> list[Confirmed]:
    """Score the finalists on the confirm split; the winner stands first.

    The winner is chosen on the confirm split alone; among equals the earlier trial wins.

    Args:
        trials: all finished trials; each carries its recipe's digest.
        count: how many are scored again.
        score: scores a trial's recipe on the confirm split.
    """
    found = [
        Confirmed(trial, trial.value or 0.0, tuple(score(trial)))
        for trial in finalists(trials, count)
    ]
    return sorted(found, key=lambda c: (-c.value(), c.trial.number))
