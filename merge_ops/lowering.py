"""From a recipe as people write it to one of a tensor op over the whole depth."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from merge_ops.groups_yaml import check_depth
from merge_ops.layout import Layout, MisfitError
from merge_ops.recipe import Recipe, Setting
from merge_ops.rewriting import Rewrite, find_method
from merge_ops.slices import lower_slices
from merge_ops.yaml_file import read_yaml


def needs_target(recipe: Recipe) -> list[str]:
    """Models that the lowered recipe may merge although `recipe` does not list them."""
    return [recipe.kept_from()] if isinstance(find_method(recipe.method), Rewrite) else []


def lower(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe in the terms of a tensor op, which the live model and mergekit understand.

    A recipe of a tensor op that is not written in slices is returned as it is. What a rewrite was
    asked for is noted in the provenance.

    Args:
        recipe: of any method.
        layout: the tensors that it will write.

    Raises:
        MisfitError: the recipe does not fit the models' layers.
    """
    if recipe.slices:
        return lower_slices(recipe, layout)
    check_depth(recipe, layout.layers)
    method = find_method(recipe.method)
    if not isinstance(method, Rewrite):
        return recipe
    for place, text in method.misfits(recipe):
        raise MisfitError(place, text)
    provenance = {**recipe.provenance, "rewrite": _note(recipe)}
    return replace(method.fn(recipe, layout), provenance=provenance)


def lower_recipe(recipe: Recipe, layout: Layout, path: Path) -> Recipe:
    """As `lower`, for a recipe read from `path`.

    Raises:
        UserError: it does not fit the models' layers; the key's place in the file is named.
    """
    try:
        return lower(recipe, layout)
    except MisfitError as misfit:
        raise read_yaml(path).error([(misfit.place, str(misfit))]) from None


def _note(recipe: Recipe) -> dict[str, Any]:
    """What was asked for, as plain data for the provenance."""
    own = {m.model: _plain(m.parameters) for m in recipe.models if m.parameters}
    common = _plain(recipe.parameters)
    return {"method": recipe.method, "parameters": common} | ({"models": own} if own else {})


def _plain(settings: Mapping[str, Setting]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return {
        key: plain(setting[0].value)
        if len(setting) == 1 and setting[0].filter is None
        else [{"filter": e.filter or "*", "value": plain(e.value)} for e in setting]
        for key, setting in settings.items()
    }
