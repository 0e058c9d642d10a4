"""The final choice: the best few of the selection split are scored again on the confirm split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from objectives.guard import Decision
from objectives.records import ScoreSet, combined
from search.feasibility import in_full, order, value_of
from search.front import foremost, is_front

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A finalist.

    Attributes:
        trial: as found by the search.
        selection: its score on the selection split, which flatters the best of many.
        confirm: its scores on the confirm split.
        guards: how it stands to each guard there.
    """

    trial: "FrozenTrial"
    selection: float
    confirm: tuple[ScoreSet, ...]
    guards: Mapping[str, Decision] = field(default_factory=dict)

    def value(self) -> float:
        """The figure that decides."""
        return combined(self.confirm)

    def violation(self) -> float:
        """By how much it breaks the guards on the confirm split; 0 if all hold."""
        return sum(max(0.0, found.constraint) for found in self.guards.values())


def finalists(trials: Sequence["FrozenTrial"], count: int) -> list["FrozenTrial"]:
    """The best trials that were scored on the whole split, different recipes only, in order.

    Those that keep their constraints stand first; of a front, its points (see `search.front`).
    """
    scored = [t for t in trials if in_full(t)]
    best: dict[str, FrozenTrial] = {}
    for trial in sorted(scored, key=order):
        best.setdefault(trial.user_attrs["digest"], trial)
    kinds = list(best.values())
    return foremost(kinds, count) if is_front(kinds) else kinds[:count]


def confirm(
    trials: Sequence["FrozenTrial"],
    count: int,
    score: Callable[["FrozenTrial"], Sequence[ScoreSet]],
    decide: Callable[[Sequence[ScoreSet]], Mapping[str, Decision]] = lambda _: {},
) -> list[Confirmed]:
    """Score the finalists on the confirm split; the winner stands first.

    The winner is chosen on the confirm split alone, among those that hold all guards there; where
    none does, the one that breaks them least stands first. Among equals the earlier trial wins.

    Args:
        trials: all finished trials; each carries its recipe's digest.
        count: how many are scored again.
        score: scores a trial's recipe on the confirm split.
        decide: how such scores stand to each guard.
    """
    found = []
    for trial in finalists(trials, count):
        sets = tuple(score(trial))
        found.append(Confirmed(trial, value_of(trial) or 0.0, sets, decide(sets)))
    return sorted(found, key=lambda c: (c.violation(), -c.value(), c.trial.number))
