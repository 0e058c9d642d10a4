"""What a finished study chose, read from its folder."""

import json
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from studies.journal import read_trials
from studies.paths import RECIPE, RESULTS


def recipe_of(folder: Path) -> Path:
    """The recipe's path.

    Raises:
        UserError: the study has not chosen yet, or the folder is no study's.
    """
    path = folder / RECIPE
    if not path.is_file():
        count = len(read_trials(folder))
        raise UserError(
            f"{folder}: the study has {count} trials but has not chosen yet; "
            "run `mergetuna run` on its file again to finish it."
        )
    return path


def best_of(folder: Path) -> dict[str, Any]:
    """The recipe's path, its trial, digest and scores.

    Raises:
        UserError: as `recipe_of`.
    """
    path = recipe_of(folder)
    results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return {"recipe": str(path), **results["winner"], "test": results["rows"][-1]["score"]}
