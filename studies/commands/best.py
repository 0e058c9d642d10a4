"""`mergetuna best`: the recipe that a study chose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def best(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    point: Annotated[
        int | None, typer.Option(min=1, help="Of a front, the recipe of this point.")
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="The recipe's path, its trial, digest and scores.")
    ] = False,
) -> None:
    """Print the best recipe of the study in FOLDER, chosen on its confirm split.

    Its paths are absolute, so that the output may be kept anywhere. Of a front, list its points;
    --point N prints the recipe of one.
    """
    import sys

    from merge_ops.recipe_paths import text_for_anywhere
    from studies.chosen import best_of, points_of, recipe_of
    from studies.console import say_json

    if as_json:
        say_json(best_of(folder, point))
        return
    path, points = recipe_of(folder, point), points_of(folder)
    if points and point is None:
        _list(points)
        return
    sys.stdout.write(text_for_anywhere(path))


def _list(points: Sequence[Mapping[str, Any]]) -> None:
    """A line for each point of the front, with its figures on test and its recipe."""
    from rich.table import Table

    from studies.console import say

    names = list(points[0]["test"])
    table = Table(title="front, on the test split, %", title_justify="left")
    for name in ("point", "trial", *names, "recipe"):
        table.add_column(name, justify="right" if name != "recipe" else "left")
    for one in points:
        mark = " (recipe.yaml)" if one["found"] else ""
        figures = [f"{100 * one['test'][name]:.1f}" for name in names]
        table.add_row(str(one["point"]), str(one["trial"]), *figures, f"{one['recipe']}{mark}")
    say(table)
