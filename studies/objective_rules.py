"""Rules between the objectives of a study file: guards and their parents, and fronts."""

from collections.abc import Sequence

from merge_ops.errors import did_you_mean
from merge_ops.settings_yaml import Problems
from search.samplers import FRONTS
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


def front_problems(config: StudyConfig) -> Problems:
    """Names that are no objective's, objectives that count but are in no value, and samplers."""
    if config.front is None:
        return []
    values, problems = config.front_values(), Problems()
    counting = [o.name for o in config.objectives if o.weight > 0]
    place = ("front",)
    if len(values) < 2 or not all(values.values()):
        text = "front: needs two values or more, each of at least one objective"
        problems.append((place, f"{text}, but is {config.front}"))
    named = [name for own in values.values() for name in own]
    for name in dict.fromkeys(named):
        if name not in counting:
            hint = did_you_mean(name, counting)
            text = f"front: {name!r} is no objective that counts{hint or f': {counting}'}"
            problems.append((place, text))
        elif named.count(name) > 1:
            problems.append((place, f"front: {name!r} stands here {named.count(name)} times"))
    problems += [
        (place, f"front: {name!r} counts but is in no value; name it, or make it a guard")
        for name in counting
        if name not in named
    ]
    if config.sampler not in ("auto", *FRONTS):
        text = f"follows one figure, but `front` asks for {len(values)}; use one of"
        problems.append(
            (("sampler",), f"sampler: {config.sampler} {text} auto, {', '.join(FRONTS)}")
        )
    return problems
