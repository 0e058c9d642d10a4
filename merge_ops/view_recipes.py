"""Recipes of methods that give one view per expert: which tasks they name, one view of them."""

from dataclasses import replace

from merge_ops.errors import UserError, did_you_mean
from merge_ops.method import Method
from merge_ops.recipe import Entry, Recipe
from merge_ops.references import short_name
from merge_ops.registry import all_ops, get_op
from merge_ops.yaml_file import MAX_KEY, Location

UNIFIED = "unified"
"""In a task's place: the model that all views share, without mask and rescaler."""


def view_of(recipe: Recipe, task: str) -> Recipe:
    """The recipe of one task's view: one model, which `become` writes like any other.

    Args:
        recipe: with `tasks`, of a method that gives views.
        task: one of its names, or "unified".

    Raises:
        UserError: the recipe names no tasks, or not this one, or is one view already.
    """
    op = get_op(recipe.method)
    if op.traits.views is None or not recipe.tasks:
        raise UserError(
            f"task {task!r}: a view is picked by a name under mergetuna.tasks, but this recipe, "
            f"of {recipe.method}, names none; methods that give views: {with_views()}."
        )
    if not recipe.has_views():
        raise UserError(
            f"task {task!r}: this recipe is the view {view_name(recipe)!r} already "
            f"(parameters.{op.traits.views}); ask for it without naming a task."
        )
    if task != UNIFIED and task not in recipe.tasks:
        known = [*recipe.tasks, UNIFIED]
        hint = did_you_mean(task, known)
        raise UserError(f"there is no task {task!r}{hint or ';'} known are {', '.join(known)}.")
    place = task if task == UNIFIED else _experts(recipe, op).index(recipe.tasks[task])
    return replace(
        recipe, parameters={**recipe.parameters, op.traits.views: (Entry(None, place),)}
    )


def view_name(recipe: Recipe) -> str | None:
    """The task whose view a recipe is, "unified", or None for a recipe that is no named view."""
    op = get_op(recipe.method)
    setting = recipe.parameters.get(op.traits.views or "")
    if not recipe.tasks or not setting:
        return None
    value = setting[0].value
    if not isinstance(value, int):
        return UNIFIED
    model = _experts(recipe, op)[value]
    return next((task for task, own in recipe.tasks.items() if own == model), None)


def task_problems(recipe: Recipe, op: Method) -> list[tuple[Location, str]]:
    """What is wrong with a recipe's tasks, each with its place in the recipe's file."""
    if not recipe.tasks:
        return []
    place = ("mergetuna", "tasks")
    if op.traits.views is None:
        text = f"mergetuna.tasks: {op.name} gives one model for all tasks; leave this key out"
        return [(place, f"{text} (methods that give one view per task: {with_views()})")]
    problems: list[tuple[Location, str]] = []
    seen: dict[str, str] = {}
    for task, model in recipe.tasks.items():
        bad = name_problem(task)
        if bad:  # such a name would break the message's one line
            problems.append(((*place, task), f"mergetuna.tasks: {bad}"))
            continue
        problem = _expert_problem(model, recipe, op)
        first = seen.setdefault(model, task)
        if not problem and first != task:
            problem = f"{short_name(model)} is the expert of task {first!r} already"
        if problem:
            problems.append(((*place, task), f"mergetuna.tasks.{task}: {problem}"))
    return problems + _choice_problems(recipe, op, op.traits.views)


def name_problem(task: str) -> str | None:
    """What is wrong with a task's name, in words, or None."""
    if not task.strip() or not task.isprintable():
        return f"a task's name must be printable text on one line, but is {task!r}"
    if len(task) > MAX_KEY:  # it is a key of the recipe's file
        return f"a task's name must have at most {MAX_KEY} characters, but has {len(task)}"
    if task == UNIFIED:
        return f"{UNIFIED!r} names what all views share; call the task otherwise"
    return None


def with_views() -> str:
    """The methods that give one view per expert, for messages."""
    return ", ".join(op.name for op in all_ops() if op.traits.views)


def _expert_problem(model: str, recipe: Recipe, op: Method) -> str | None:
    experts = _experts(recipe, op)
    if model in experts:
        return None
    if model == recipe.base_model:
        return "this is the base_model, which is no expert; name one of `models`"
    named = {short_name(expert): expert for expert in experts}
    hint = did_you_mean(short_name(model), named)
    return f"must be one of `models`, {sorted(named)}, but is {short_name(model)!r}{hint}"


def _choice_problems(recipe: Recipe, op: Method, option: str) -> list[tuple[Location, str]]:
    """Beside tasks, the option that picks a view must pick one for the whole model."""
    setting = recipe.parameters.get(option)
    if setting is None:
        return []
    count = len(_experts(recipe, op))
    value = setting[0].value if len(setting) == 1 and setting[0].filter is None else None
    if isinstance(value, float):  # of the wrong type, which the reader has said already
        return []
    if value == UNIFIED or (isinstance(value, int) and 0 <= value < count):
        return []
    text = (
        f"parameters.{option}: beside mergetuna.tasks it picks one view for the whole model and "
        f"must be 'unified' or a whole number in 0..{count - 1}; left out, the recipe is of all"
    )
    return [(("parameters", option), text)]


def _experts(recipe: Recipe, op: Method) -> list[str]:
    """The merged models, in the order that the option counts in."""
    return [recipe.models[i].model for i in recipe.experts(op)]
