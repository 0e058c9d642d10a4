"""`mergetuna run`: run a study, or go on with one that was stopped."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    study: Annotated[Path, typer.Argument(help="The study file; `mergetuna init` writes one.")],
) -> None:
    """Search, confirm, compare: from STUDY to recipe.yaml. Run it again to go on or to re-read."""
    from studies.results import show_results
    from studies.run import run_study
    from studies.setup import read_study

    checked = read_study(study)
    results = run_study(checked)
    show_results(results, checked.out)
