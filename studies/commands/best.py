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

    Of a front, list its points; --point N prints the recipe of one.
    """
    import json
    import sys

    from merge_ops.errors import UserError
    from studies.console import say_json
    from studies.journal import read_trials
    from studies.paths import RECIPE, RESULTS

    path = folder / RECIPE
    if not path.is_file():
        count = len(read_trials(folder))
        raise UserError(
            f"{folder}: the study has {count} trials but has not chosen yet; "
            "run `mergetuna run` on its file again to finish it."
        )
    results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    points = results.get("front", {}).get("points", [])
    if point is not None and point > len(points):
        raise UserError(
            f"{folder}: --point must name one of {len(points)} points, but is {point}."
            if points
            else f"{folder}: --point is for a study with a front of points, and this has none."
        )
    if point is not None:
        path = folder / points[point - 1]["recipe"]
        if as_json:
            say_json({**points[point - 1], "recipe": str(path)})
            return
    elif points and not as_json:
        _list(points)
        return
    elif as_json:
        test = results["rows"][-1]["score"]
        own = {"front": points} if points else {}
        say_json({"recipe": str(path), **results["winner"], "test": test, **own})
        return
    sys.stdout.write(path.read_text(encoding="utf-8"))


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
