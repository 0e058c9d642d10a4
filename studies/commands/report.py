"""`mergetuna report`: a study as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="A new HTML file, or an earlier report; else report.html in FOLDER."),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Paths of page and pictures as JSON.")
    ] = False,
) -> None:
    """Write the study in FOLDER as one HTML page that needs no network, and its charts as PNG.

    Works while the study runs, from its trials alone. Of a study that is tracked and has ended,
    MLflow's run `summary` gets it too.
    """
    from rich.markup import escape

    from studies.console import say, say_json
    from studies.report.page import write_report
    from studies.report.place import chosen_place
    from studies.sync import mirror_report

    written = write_report(folder, None if out is None else chosen_place(folder, out))
    tracked = mirror_report(folder, written.page, written.pictures)
    if as_json:
        paths = {"report": str(written.page), "pictures": [str(p) for p in written.pictures]}
        say_json({**paths, "tracking": tracked})
        return
    say(f"report    {written.page}")
    if written.pictures:
        say(f"pictures  {written.pictures[0].parent} ({len(written.pictures)} PNG files)")
    if tracked is not None:
        say(escape(f"MLflow    {tracked}"))
