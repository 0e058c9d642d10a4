"""`mergetuna samplers`: what may search, and when to use which."""

from typing import Annotated

import typer


def samplers(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the samplers: when to use which, and its paper."""
    from dataclasses import asdict

    from search.sampler_notes import NOTES
    from studies.console import say, say_json

    if as_json:
        content = {name: asdict(note) for name, note in NOTES.items()}
        say_json(content)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("sampler", "when to use it", "paper")
    for name, note in NOTES.items():
        table.add_row(name, escape(note.when), escape(note.paper))
    say(table)
    say("In study.yaml: `sampler: NAME`.")
