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
    if as_json:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        test = results["rows"][-1]["score"]
        say_json({"recipe": str(path), **results["winner"], "test": test})
        return
    sys.stdout.write(path.read_text(encoding="utf-8"))
