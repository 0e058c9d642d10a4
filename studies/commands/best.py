"""`mergetuna best`: the recipe that a study chose."""

from pathlib import Path
from typing import Annotated

import typer


def best(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Print the best recipe of the study in FOLDER, chosen on its confirm split."""
    import sys

    from merge_ops.errors import UserError
    from studies.ledger import read_trials
    from studies.paths import RECIPE

    path = folder / RECIPE
    if not path.is_file():
        count = len(read_trials(folder))
        raise UserError(
            f"{folder}: the study has {count} trials but has not chosen yet; "
            "run `mergetuna run` on its file again to finish it."
        )
    sys.stdout.write(path.read_text(encoding="utf-8"))
