"""What a finished trial of the ledger says of itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.racing import STOPPED


def value_of(trial: FrozenTrial) -> float | None:
    """Its score; of several values (a front) their mean; None if it failed."""
    values = trial.values
    return sum(values) / len(values) if values else None


def scores_of(trial: FrozenTrial) -> dict[str, Sequence[float]]:
    """Per-example scores on the selection split, by objective; empty if it has none."""
    text = trial.user_attrs.get("scores")
    return json.loads(text) if text else {}


def examples_of(trial: FrozenTrial) -> int:
    """How many examples it was scored on; of a stopped one fewer than of the others."""
    stopped = trial.user_attrs.get(STOPPED)
    if stopped is not None:
        return int(stopped)
    return sum(map(len, scores_of(trial).values()))


def figures_of(trial: FrozenTrial) -> Mapping[str, float]:
    """Its score on each objective, and by category under "objective/category"."""
    figures: Mapping[str, float] = trial.user_attrs.get("figures", {})
    return figures


def spent(trial: FrozenTrial) -> float:
    """Seconds that it took, all phases together."""
    return float(sum(trial.user_attrs.get("seconds", {}).values()))


def record(trial: FrozenTrial) -> dict[str, Any]:
    """The trial as plain data, for scripts; without its per-example scores."""
    value = value_of(trial)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": value,
        "values": trial.values,
        "figures": dict(figures_of(trial)),
        "params": trial.params,
        "seconds": trial.user_attrs["seconds"],
        "source": trial.user_attrs["source"],
        "digest": trial.user_attrs["digest"],
        "reason": trial.user_attrs.get("reason"),
        "stopped_after": trial.user_attrs.get(STOPPED),
    }
