"""What all recipes of one resident model must have in common."""

from collections.abc import Sequence

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe


def shared_terms(recipe: Recipe) -> Recipe:
    """A recipe without what may differ between candidates."""
    return Recipe(
        method="",
        models=(),
        dtype=recipe.dtype,
        out_dtype=recipe.out_dtype,
        target=recipe.kept_from(),
        reward_head=recipe.reward_head,
        exclude=recipe.exclude,
        towers=recipe.towers,
        template=recipe.template,
    )


def check_terms(recipe: Recipe, terms: Recipe, resident: Sequence[str]) -> None:
    """Refuse a recipe that cannot be written into a resident model.

    Args:
        recipe: of a candidate.
        terms: of the resident model, as `shared_terms` makes them.
        resident: references of the models beside it.

    Raises:
        UserError: its terms are others, or one of its models is not there.
    """
    if shared_terms(recipe) != terms:
        raise UserError(
            "a resident model becomes only recipes with its own target, dtypes, exclude, "
            f"towers, reward head and template, {terms}, but got {shared_terms(recipe)}."
        )
    wanted = [recipe.base_model, *(m.model for m in recipe.models)]
    absent = [reference for reference in wanted if reference and reference not in resident]
    if absent:
        raise UserError(f"{absent[0]} is not resident; here are {resident}.")
