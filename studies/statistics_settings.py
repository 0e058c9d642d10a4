"""The `statistics:` block of a study file: which objectives each expert is observed on."""

from collections.abc import Mapping, Sequence

from merge_ops.errors import did_you_mean
from merge_ops.method import Method
from merge_ops.settings_yaml import Problems
from merge_ops.yaml_file import Location
from studies.config import StatisticsConfig, StudyConfig

_PLACE = ("statistics", "objective")


def statistics_problems(config: StudyConfig, op: Method, labels: Sequence[str]) -> Problems:
    """What is wrong with the block, each with its place in the file.

    Args:
        config: the study.
        op: its method.
        labels: the experts' short names.
    """
    if config.statistics is None:
        return []
    if op.traits.statistics is None:
        return [(("statistics",), f"statistics: {op.name} takes none; drop the block")]
    chosen, known = config.statistics.objective, [o.name for o in config.objectives]
    wanted: list[tuple[Location, str]] = [(_PLACE, chosen)] if isinstance(chosen, str) else []
    problems: Problems = []
    if isinstance(chosen, dict):
        wanted = [((*_PLACE, label), name) for label, name in chosen.items()]
        problems = _strangers(chosen, labels)
    for place, name in wanted:
        if name not in known:
            text = (
                f"{'.'.join(map(str, place))}: there is no objective {name!r}; known are {known}"
            )
            problems.append((place, text))
    return problems


def _strangers(chosen: Mapping[str, str], labels: Sequence[str]) -> Problems:
    """Experts without an objective, and names that are no expert's."""
    dotted = ".".join(_PLACE)
    absent = [label for label in labels if label not in chosen]
    problems: Problems = [(_PLACE, f"{dotted}: it names none for {label!r}") for label in absent]
    for label in chosen:
        if label not in labels:
            text = f"{dotted}: there is no expert {label!r}{did_you_mean(label, labels)}"
            problems.append(((*_PLACE, label), text))
    return problems


def observed_names(config: StudyConfig, labels: Sequence[str]) -> list[list[str]]:
    """Names of the objectives that each expert is observed on; without a choice, all of them."""
    chosen = (config.statistics or StatisticsConfig()).objective
    if chosen is None:
        return [[o.name for o in config.objectives]] * len(labels)
    if isinstance(chosen, str):
        return [[chosen]] * len(labels)
    return [[chosen[label]] for label in labels]
