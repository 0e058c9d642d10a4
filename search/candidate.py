"""A candidate: one recipe, or the views of one recipe, each with what it is scored on."""

from collections.abc import Mapping, Sequence

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe
from merge_ops.view_recipes import view_of

Member = tuple[Recipe, list[int]]
"""What the live model becomes, and the places of the objectives that are then scored."""


def members(recipe: Recipe, objectives: Sequence[str], tasks: Mapping[str, str]) -> list[Member]:
    """The models of one candidate, in order; every objective is scored on exactly one.

    Args:
        recipe: one model, or one with views.
        objectives: their names.
        tasks: the task of an objective, by name; "unified" for what all views share.

    Raises:
        UserError: an objective of no task meets a recipe with views, or of a task it has not.
    """
    if not recipe.has_views():
        return [(recipe, list(range(len(objectives))))]
    places: dict[str, list[int]] = {}
    for i, name in enumerate(objectives):
        if name not in tasks:
            raise UserError(
                f"{name}: the recipe has one view per task ({', '.join(recipe.tasks)}), and this "
                "objective names none. Give it the key `task` in a study of the recipe's method, "
                "or score one view by --task."
            )
        places.setdefault(tasks[name], []).append(i)
    return [(view_of(recipe, task), own) for task, own in places.items()]
