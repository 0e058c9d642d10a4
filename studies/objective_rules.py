"""Rules between the objectives of a study file: guards and their parents, and what counts."""

from collections.abc import Sequence

from merge_ops.errors import did_you_mean
from merge_ops.settings_yaml import Problems
from studies.config import StudyConfig


def guard_problems(config: StudyConfig, labels: Sequence[str]) -> Problems:
    """Parents that are none of the experts, and studies of guards alone."""
    problems: Problems = []
    for i, objective in enumerate(config.objectives):
        parent = objective.parent
        if parent is not None and parent.replace(".", "-") not in labels:
            text = (
                f"must be an expert's name, one of {', '.join(labels)}, or left out (the target)"
            )
            problems.append(
                (
                    ("objectives", i, "parent"),
                    f"objectives.{i}.parent: {text}, not {parent!r}{did_you_mean(parent, labels)}",
                )
            )
    if all(objective.weight == 0 for objective in config.objectives):
        text = "objectives: all are guards; one must count: give it a weight"
        problems.append((("objectives",), text))
    return problems
