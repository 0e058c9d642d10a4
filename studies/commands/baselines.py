"""`mergetuna baselines`: what a merged reward model must beat."""

from pathlib import Path
from typing import Annotated

import typer


def baselines(
    study: Annotated[Path, typer.Argument(help="A study with preferences or best of N.")],
    captions: Annotated[
        Path | None,
        typer.Option(help="JSON lines of id and caption for the cascade; else the target writes."),
    ] = None,
    votes: Annotated[int, typer.Option(min=1, help="Of the judge, sampled if above 1.")] = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Score the study's baselines on its test split; every look at it is logged and counted."""
    import json
    import sys

    from rich.table import Table

    from studies.mistaken import check_study_file

    check_study_file(study)
    from studies.setup import read_study

    file = read_study(study)
    from studies.baselines import HEADER, cells, run_baselines
    from studies.console import say
    from studies.paths import BASELINES

    rows = run_baselines(file, captions, votes)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    table = Table(*HEADER)
    for row in rows:
        table.add_row(*cells(row))
    say(table)
    say(f"figures     {file.out / BASELINES}.json, .md")
