"""What a finished study chose, read from its folder."""

import json
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from studies.journal import read_trials
from studies.paths import RECIPE, RESULTS


def recipe_of(folder: Path, point: int | None = None) -> Path:
    """The recipe's path.

    Args:
        folder: the study's.
        point: of its front, from 1; None for the recipe that the study found.

    Raises:
        UserError: the study has not chosen yet, has no such point, or the folder is no study's.
    """
    path = folder / RECIPE
    if not path.is_file():
        count = len(read_trials(folder))
        raise UserError(
            f"{folder}: the study has {count} trials but has not chosen yet; "
            "run `mergetuna run` on its file again to finish it."
        )
    return path if point is None else folder / _point(folder, point)["recipe"]


def points_of(folder: Path) -> list[dict[str, Any]]:
    """The points of a finished study's front; none where none was searched."""
    points: list[dict[str, Any]] = _results(folder).get("front", {}).get("points", [])
    return points


def best_of(folder: Path, point: int | None = None) -> dict[str, Any]:
    """The recipe's path, its trial, digest and scores; of a front its points, or one of them.

    Args:
        folder: the study's.
        point: of its front, from 1.

    Raises:
        UserError: as `recipe_of`.
    """
    path, results = recipe_of(folder, point), _results(folder)
    if point is not None:
        return {**_point(folder, point), "recipe": str(path)}
    points = points_of(folder)
    own = {"front": points} if points else {}
    test = results["rows"][-1]["score"]
    return {"recipe": str(path), **results["winner"], "test": test, **own}


def _point(folder: Path, point: int) -> dict[str, Any]:
    points = points_of(folder)
    if not 1 <= point <= len(points):
        raise UserError(
            f"{folder}: --point must name one of {len(points)} points, but is {point}."
            if points
            else f"{folder}: --point is for a study with a front of points, and this has none."
        )
    return points[point - 1]


def _results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return found
