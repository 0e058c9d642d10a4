"""`mergetuna eval`: score a recipe or a model as a study would."""

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.completion import splits


def evaluate(
    what: Annotated[str, typer.Argument(help="recipe.yaml, a folder, hub id or MODEL+ADAPTER.")],
    study: Annotated[Path, typer.Option(help="The study whose objectives score it.")],
    split: Annotated[
        str, typer.Option(help="selection, confirm or test.", autocompletion=splits)
    ] = "test",
    task: Annotated[
        str | None,
        typer.Option(help="Of a recipe with views, score this one; else each objective's own."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Score WHAT on one split of a study; a look at the test split is logged and counted."""
    import json
    import sys

    from rich.markup import escape

    from merge_ops.errors import UserError
    from objectives.records import SPLITS
    from studies.console import say
    from studies.mistaken import check_study_file

    if split not in SPLITS:
        raise UserError(f"--split must be one of {', '.join(SPLITS)}, but got {split!r}.")
    check_study_file(study)
    from studies.setup import read_study

    checked = read_study(study)
    from studies.scoring import (  # seconds, which a mistake need not wait for
        figures_of,
        score_once,
    )

    result = score_once(what, checked, split, task=task)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    for line in figures_of(result):
        say(escape(line))
