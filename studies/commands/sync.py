"""`mergetuna sync`: fill in what MLflow lacks of a study."""

from pathlib import Path
from typing import Annotated

import typer


def sync(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    uri: Annotated[
        str | None,
        typer.Option(help="Another store than the study's own: an address for MLflow."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Mirror to MLflow whatever it lacks of the study in FOLDER: trials, results, report.

    Runs that are there are left alone: a second time it writes no trial. Of use after a server
    was down, or with tracking off.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from studies.console import say, say_json, warn
    from studies.sync import sync as fill_in

    done = fill_in(folder, uri)
    if as_json:
        say_json(asdict(done))
        return
    text = f"{done.written} of {done.trials} trials were missing and are written"
    summary = "; the summary is up to date" if done.summary else ""
    say(escape(f"{done.uri}, experiment {done.experiment}: {text}{summary}"))
    if done.without:
        warn(f"written without {done.without}")
