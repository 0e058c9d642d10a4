"""`mergetuna trials`: what a study has tried."""

from pathlib import Path
from typing import Annotated

import typer


def trials(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    search: Annotated[
        str, typer.Option(help="search (the study's own) or global (its rival without depth).")
    ] = "search",
) -> None:
    """List the trials of the study in FOLDER: number, state, value, listed values, seconds.

    STOPPED: racing ended it before all items were scored; its value is an estimate.
    """
    from rich.table import Table

    from search.racing import STOPPED
    from studies.console import say, say_json
    from studies.ledger import listed_values, read_trials
    from studies.table import plain
    from studies.trial_facts import record

    found = read_trials(folder, search)
    if as_json:
        say_json([record(trial) for trial in found])
        return
    table = Table()
    lists = listed_values(found)
    for name in ("trial", "state", "value", *lists, "proposed by", "seconds", "recipe"):
        table.add_column(name, justify="right")
    for t in found:
        value = t.user_attrs.get("reason", "-") if t.value is None else f"{t.value:.4f}"
        state = t.state.name if STOPPED not in t.user_attrs else "STOPPED"
        seconds = f"{sum(t.user_attrs['seconds'].values()):.2f}"
        digest = t.user_attrs["digest"][:12]
        chosen = [plain(t.params[name]) for name in lists]
        source = t.user_attrs["source"]
        table.add_row(str(t.number), state, value, *chosen, source, seconds, digest)
    say(table)
