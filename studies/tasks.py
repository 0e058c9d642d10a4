"""Which expert's view scores which objective, in studies of a method that gives views (EMR)."""

from collections.abc import Mapping, Sequence

from merge_ops.errors import did_you_mean
from merge_ops.method import Method
from merge_ops.recipe import Recipe
from merge_ops.settings_yaml import Problems
from merge_ops.view_recipes import UNIFIED, name_problem, with_views
from studies.config import StudyConfig


def objective_tasks(config: StudyConfig) -> dict[str, str]:
    """The task of every objective that names one, by the objective's name."""
    return {o.name: o.task for o in config.objectives if o.task is not None}


def template_tasks(template: Recipe, op: Method, names: Sequence[str]) -> dict[str, str]:
    """The tasks of a study's recipes: each expert's name is its task's; a listed base has none."""
    if op.traits.views is None:
        return {}
    return {names[i]: template.models[i].model for i in template.experts(op)}


def task_misfits(
    config: StudyConfig, op: Method, names: Sequence[str], tasks: Mapping[str, str]
) -> Problems:
    """Rules between the method, the experts' names and the objectives' tasks.

    Args:
        config: the study.
        op: its method.
        names: of the experts.
        tasks: those of them that have a view, with their models.
    """
    if op.traits.views is None:
        text = f"{op.name} gives one model for all objectives; leave this key out"
        return [
            (
                ("objectives", i, "task"),
                f"objectives.{i}.task: {text} (methods that give views: {with_views()})",
            )
            for i, objective in enumerate(config.objectives)
            if objective.task is not None
        ]
    problems: Problems = []
    for i, name in enumerate(names):
        problem = name_problem(name)
        if problem:
            problems.append((("experts", i), f"experts.{i}.name: {problem}"))
    if len(set(tasks.values())) < len(tasks):
        text = f"experts: {op.name} gives one view per expert, so each must be another model"
        problems.append((("experts",), text))
    if op.traits.views in config.parameters:
        text = "each objective picks its view by its own key `task`; leave this one out"
        place = ("parameters", op.traits.views)
        problems.append((place, f"parameters.{op.traits.views}: {text}"))
    return problems + _objective_misfits(config, op, [*tasks, UNIFIED])


def _objective_misfits(config: StudyConfig, op: Method, known: Sequence[str]) -> Problems:
    problems: Problems = []
    choices = ", ".join(map(repr, known))
    for i, objective in enumerate(config.objectives):
        if objective.task is None:
            text = (
                f"{op.name} gives one view per expert: say by `task` whose view scores "
                f"{objective.name!r}, one of {choices} ('unified': what all views share, without "
                "mask and rescaler)"
            )
            problems.append((("objectives", i), f"objectives.{i}: {text}"))
        elif objective.task not in known:
            hint = did_you_mean(objective.task, known)
            text = f"must be an expert's name or 'unified', one of {choices}, not"
            problems.append(
                (
                    ("objectives", i, "task"),
                    f"objectives.{i}.task: {text} {objective.task!r}{hint}",
                )
            )
    return problems
