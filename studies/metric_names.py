"""Names of MLflow's metrics: its pages sort them as text, and what matters stands first.

A slash would not do: charts of metrics with one stand in sections before all that have none.
"""

from collections.abc import Mapping

from optuna.trial import FrozenTrial

from search.feasibility import value_of
from studies.trial_facts import FRONT, figures_of, named_values

MAIN = ("front", "score")
"""First words of the metrics that are columns of the table; categories would fill the screen."""


def trial_metrics(trial: FrozenTrial) -> dict[str, float]:
    """All metrics of a finished trial."""
    score, seconds = value_of(trial), trial.user_attrs.get("seconds", {})
    front = named_values(trial) if FRONT in trial.user_attrs else {}
    return {
        **{f"front.{name}": value for name, value in front.items()},
        **({} if score is None else {"score": score}),
        **_figures(figures_of(trial), "score", "slice"),
        **{f"seconds.{phase}": value for phase, value in seconds.items()},
        **{f"violation.{name}": value for name, value in trial.constraints.items()},
    }


def end_metrics(score: float, figures: Mapping[str, float]) -> dict[str, float]:
    """Metrics of a study's end: the found recipe on the test split.

    Args:
        score: the combined one.
        figures: by objective, and by category under "objective/category".
    """
    return {"test": score, **_figures(figures, "test", "test_slice")}


def _figures(figures: Mapping[str, float], whole: str, part: str) -> dict[str, float]:
    first = {key: part if "/" in key else whole for key in figures}
    return {f"{first[key]}.{key.replace('/', '.')}": value for key, value in figures.items()}
