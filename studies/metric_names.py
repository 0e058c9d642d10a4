"""Names of MLflow's metrics: its pages sort them as text, and what matters stands first.

A slash would not do: charts of metrics with one stand in sections before all that have none.
"""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import value_of
from studies.trial_facts import FRONT, examples_of, figures_of, named_values

MAIN = ("front", "score")
"""First words of the metrics that are columns of the table; categories would fill the screen."""


_DIGITS = 6
"""Behind the point; the ledger has all."""


def trial_metrics(trial: FrozenTrial) -> dict[str, float]:
    """All metrics of a finished trial, as exact as a page can show them."""
    score = value_of(trial)
    front = named_values(trial) if FRONT in trial.user_attrs else {}
    found = {
        **{f"front.{name}": value for name, value in front.items()},
        **({} if score is None else {"score": score}),
        **_figures(figures_of(trial), "score", "slice"),
        **_spent(trial),
        **{f"violation.{name}": value for name, value in trial.constraints.items()},
    }
    return {name: round(value, _DIGITS) for name, value in found.items()}


def _spent(trial: FrozenTrial) -> dict[str, float]:
    """Items scored, seconds by phase, and the most memory in MB where the ledger has it."""
    items = trial.user_attrs.get("items")
    memory = trial.user_attrs.get("memory") or {}
    return {
        "spent.items": float(examples_of(trial) if items is None else items),
        **{f"spent.memory.{k}_mb": n / 1e6 for k, n in memory.items() if n is not None},
        **{f"spent.seconds.{k}": n for k, n in trial.user_attrs.get("seconds", {}).items()},
    }


def sortable(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same under names whose numbers sort: `weight.math.02` beside `weight.math.15`.

    A part of a name that is a number gets zeros in front, as far as the largest at its place
    among names of the same first word has more figures.
    """
    widths: dict[tuple[str, int], int] = {}
    for name in params:
        first, *parts = name.split(".")
        for place, part in enumerate(parts):
            if part.isdecimal():
                widths[first, place] = max(widths.get((first, place), 0), len(part))
    padded: dict[str, Any] = {}
    for name, value in params.items():
        first, *parts = name.split(".")
        filled = [
            part.zfill(widths[first, place]) if part.isdecimal() else part
            for place, part in enumerate(parts)
        ]
        key = ".".join([first, *filled])
        padded[key] = value
    return padded if len(padded) == len(params) else dict(params)  # two must not become one


def end_metrics(score: float, figures: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a study's end: the found recipe on the test split.

    Args:
        score: the combined one.
        figures: by objective, and by category under "objective/category".
    """
    found = {"test": score, **_figures(figures, "test", "test_slice")}
    return {name: round(value, _DIGITS) for name, value in found.items()}


def _figures(figures: Mapping[str, float], whole: str, part: str) -> dict[str, float]:
    first = {key: part if "/" in key else whole for key in figures}
    return {f"{first[key]}.{key.replace('/', '.')}": value for key, value in figures.items()}
