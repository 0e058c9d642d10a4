"""What trials are worth: their score, whether it is whole and allowed, and which are better."""

from typing import TYPE_CHECKING

from search.racing import STOPPED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def violation(trial: "FrozenTrial") -> float:
    """By how much a trial breaks its constraints, all together; 0 if it keeps them."""
    return sum(max(0.0, value) for value in trial.constraints.values())


def feasible(trial: "FrozenTrial") -> bool:
    """Whether a trial keeps all its constraints, or has none."""
    return violation(trial) == 0


def value_of(trial: "FrozenTrial") -> float | None:
    """Its score; of several values (a front) their mean; None if it failed."""
    values = trial.values
    return sum(values) / len(values) if values else None


def in_full(trial: "FrozenTrial") -> bool:
    """Whether a trial was scored on every item; it did not fail, and racing did not stop it."""
    return bool(trial.values) and STOPPED not in trial.user_attrs


def order(trial: "FrozenTrial") -> tuple[float, float, int]:
    """A key that sorts scored trials, the best first.

    What keeps its constraints stands before what does not, and goes by its score; the rest goes by
    how much it breaks them (Deb, An efficient constraint handling method, 2000). Among equals the
    earlier trial is better.
    """
    return violation(trial), -(value_of(trial) or 0.0), trial.number
