"""What a finished trial of the ledger says of itself."""

import json
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial

from search.racing import STOPPED

COPY_OF = "copy_of"
"""Attribute of a trial that took the outcome of an earlier one of the same recipe: its number."""
SEEDS = "seeds"
"""Attribute of a trial: over how many seeds of masks its scores are means; 1 if not there."""


def value_of(trial: FrozenTrial) -> float | None:
    """Its score; of several values (a front) their mean; None if it failed."""
    values = trial.values
    return sum(values) / len(values) if values else None


def scores_of(trial: FrozenTrial) -> dict[str, Sequence[float]]:
    """Per-example scores on the selection split, by objective; empty if it has none."""
    text = trial.user_attrs.get("scores")
    return json.loads(text) if text else {}


def examples_of(trial: FrozenTrial) -> int:
    """How many examples it was scored on; a stopped one on fewer than others, a copy on none."""
    if COPY_OF in trial.user_attrs:
        return 0
    stopped = trial.user_attrs.get(STOPPED)
    if stopped is not None:
        return int(stopped)
    return sum(map(len, scores_of(trial).values())) * int(trial.user_attrs.get(SEEDS, 1))


def figures_of(trial: FrozenTrial) -> Mapping[str, float]:
    """Its score on each objective, and by category under "objective/category"."""
    figures: Mapping[str, float] = trial.user_attrs.get("figures", {})
    return figures


def spent(trial: FrozenTrial) -> float:
    """Seconds that it took, all phases together."""
    return float(sum(trial.user_attrs.get("seconds", {}).values()))
