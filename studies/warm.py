"""The first points of a study: published grids, recipes, and what earlier studies found."""

from pathlib import Path

from merge_ops.errors import UserError
from merge_ops.layout import Layout
from merge_ops.lowering import lower_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.registry import Value
from search.encoding import encode
from search.feasibility import order, value_of
from search.space import SearchSpace
from search.warm_start import warm_points
from studies.config import WarmStudy
from studies.console import warn
from studies.journal import has_ledger, read_trials
from studies.paths import RECIPE
from studies.setup import StudyFile

Points = list[dict[str, Value]]


def first_points(study: StudyFile, space: SearchSpace) -> Points:
    """All points of `warm_start:`, each once, in the file's order; none where nothing is searched.

    Raises:
        UserError: a recipe or an earlier study cannot be read.
    """
    points: Points = []
    for i, entry in enumerate(study.config.warm_start if space.dimensions() else ()):
        with study.file.at("warm_start", i):
            if isinstance(entry, str):
                found = warm_points([entry], space)
            elif isinstance(entry, WarmStudy):
                found = _of_study(study.folder / entry.study, entry.best, space)
            else:
                found = [_of_recipe(study.folder / entry.recipe, space)]
        new = [point for point in found if point not in points]
        if not isinstance(entry, str):
            warn(f"{study.config.name}: warm_start.{i}: {len(new)} points of {_what(entry)}")
        points += new
    return points


def _what(entry: object) -> str:
    return f"the study {entry.study}" if isinstance(entry, WarmStudy) else "a recipe"


def _of_recipe(path: Path, space: SearchSpace) -> dict[str, Value]:
    """The point that comes nearest to a recipe file."""
    recipe = lower_recipe(read_recipe(path), Layout(space.layers, space.names), path)
    return encode(space, recipe)


def _of_study(folder: Path, best: int, space: SearchSpace) -> Points:
    """An earlier study's best trials, if it searched the same dimensions; else its recipe."""
    if not folder.is_dir():
        raise UserError(f"there is no study in {folder}.")
    names = [d.name for d in space.dimensions()]
    scored = (
        [t for t in read_trials(folder) if value_of(t) is not None] if has_ledger(folder) else []
    )
    if scored and set(scored[0].params) == set(names):
        ranked = sorted(scored, key=order)[:best]
        inside = [t for t in ranked if all(d.holds(t.params[d.name]) for d in space.dimensions())]
        return [{name: t.params[name] for name in names} for t in inside]
    if (folder / RECIPE).is_file():
        return [_of_recipe(folder / RECIPE, space)]
    raise UserError(
        f"{folder} searched other dimensions and has found no recipe yet; finish that "
        "study, or leave it out."
    )
