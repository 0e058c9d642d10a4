"""recipe.yaml: writing a recipe so that mergekit reads it too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.groups_yaml import PER_GROUP, dump_groups
from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.references import relative
from merge_ops.settings_yaml import dump_settings
from merge_ops.statistics_yaml import dump_statistics


def recipe_text(recipe: Recipe, folder: Path) -> str:
    """The file's content; models below the parent of `folder` are written relative to it."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096
    stream = io.StringIO()
    yaml.dump(_content(recipe, folder), stream)
    return stream.getvalue()


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe to `path`, atomically; `read_recipe` gives the same recipe back."""
    write_text(path, recipe_text(recipe, path.parent))


def _content(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The mapping that is written; exclusions also lead every setting, for mergekit's sake."""

    def name(reference: str) -> str:
        return relative(reference, folder)

    if recipe.slices:
        raise ValueError("A recipe in slices is written after `lower`.")
    models = []
    for source in recipe.models:
        own = dump_settings(_with_exclusions(recipe, source))
        models.append({"model": name(source.model)} | ({"parameters": own} if own else {}))
    content: dict[str, Any] = {"merge_method": PER_GROUP if recipe.groups else recipe.method}
    if recipe.base_model:
        content["base_model"] = name(recipe.base_model)
    content["models"] = models
    if recipe.parameters:
        content["parameters"] = dump_settings(recipe.parameters)
    content |= {k: v for k in ("dtype", "out_dtype") if (v := getattr(recipe, k))}
    if recipe.target or recipe.tasks or recipe.groups:
        content["mergetuna"] = _block(recipe, name, dump_statistics(recipe.statistics, folder))
    return content


def _block(
    recipe: Recipe, name: Callable[[str], str], statistics: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """What mergekit ignores; `name` turns a path into what is written."""
    block: dict[str, Any] = {"version": 1, "target": name(recipe.kept_from())}
    if recipe.reward_head:
        block["reward_head"] = name(recipe.reward_head)
    block |= {"exclude": list(recipe.exclude), "template": name(recipe.template)}
    if recipe.groups:
        block["methods"] = dump_groups(recipe)
    if recipe.towers:
        block["towers"] = {key: name(model) for key, model in recipe.towers.items()}
    if recipe.tasks:
        block["tasks"] = {task: name(model) for task, model in recipe.tasks.items()}
    block |= {"seed": recipe.seed, **statistics}
    return block | {"provenance": dict(recipe.provenance)}


def exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    """What `exclude` and `towers` say, as filters in front: mergekit then keeps the same tensors.

    A tower whose owner is not merged has no filter: mergekit would not know that model.
    """
    merged = {model.model for model in recipe.models}
    owners = dict.fromkeys(recipe.exclude, recipe.kept_from())
    owners |= {part: owner for part, owner in recipe.towers.items() if owner in merged}
    return {
        "weight": tuple(Entry(p, float(source.model == owner)) for p, owner in owners.items()),
        "density": tuple(Entry(part, 1.0) for part in owners),
    }


def _with_exclusions(recipe: Recipe, source: Source) -> dict[str, Setting]:
    front = exclusions(recipe, source)
    return {k: (*front.get(k, ()), *setting) for k, setting in source.parameters.items()}
