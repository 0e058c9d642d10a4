"""`mergetuna best`: the recipe that a study chose."""

from pathlib import Path
from typing import Annotated

import typer


def best(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="The recipe's path, its trial, digest and scores.")
    ] = False,
) -> None:
    """Print the best recipe of the study in FOLDER, chosen on its confirm split."""
    import sys

    from studies.chosen import best_of, recipe_of
    from studies.console import say_json

    path = recipe_of(folder)
    if as_json:
        say_json(best_of(folder))
        return
    sys.stdout.write(path.read_text(encoding="utf-8"))
