"""`mergetuna trials`: what a study has tried."""

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.completion import searches


def trials(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
    search: Annotated[
        str,
        typer.Option(
            help="search (the study's own) or global (its rival without depth).",
            autocompletion=searches,
        ),
    ] = "search",
) -> None:
    """List the trials of the study in FOLDER: number, state, value, listed values, seconds.

    Shrunken: the value drawn towards the mean of all by the share of their spread that is noise.
    Of a front each value has a column, and * marks the trials that none beats.
    STOPPED: racing ended it before all items were scored; its value is an estimate.
    "= 12": it has the recipe of trial 12, whose outcome it takes; it was not scored again.
    """
    from rich.table import Table

    from search.front import front_of, is_front
    from search.racing import STOPPED
    from studies.about import read_about
    from studies.console import say, say_json
    from studies.journal import read_trials
    from studies.shrunken import shrunken
    from studies.table import plain
    from studies.trial_facts import (
        COPY_OF,
        guards_of,
        listed_values,
        named_values,
        standing_of,
    )
    from studies.trial_records import records

    found = read_trials(folder, search)
    if as_json:
        say_json(records(folder, found))
        return
    several, believed = is_front(found), shrunken(read_about(folder), found)
    front = {t.number for t in front_of(found)} if several else set[int]()
    table = Table()
    lists = listed_values(found)
    guarded = ["guards"] if any(guards_of(t) for t in found) else []
    names = next((list(named_values(t)) for t in found if t.values), ["score"])
    figures = [*names, "front"] if several else ["value"]
    figures += ["shrunken"] if believed else []
    for name in ("trial", "state", *figures, *guarded, *lists, "proposed by", "seconds", "recipe"):
        table.add_column(name, justify="right")
    for t in found:
        values = [f"{value:.4f}" for value in t.values or ()]
        values = values or [t.user_attrs.get("reason", "-"), *["-"] * (len(names) - 1)]
        values += ["*" if t.number in front else ""] if several else []
        values += [_figure(believed.get(t.number))] if believed else []
        standing = [standing_of(t)] if guarded else []
        state = t.state.name if STOPPED not in t.user_attrs else "STOPPED"
        if COPY_OF in t.user_attrs:
            state = f"{state} = {t.user_attrs[COPY_OF]}"
        seconds = f"{sum(t.user_attrs['seconds'].values()):.2f}"
        digest = t.user_attrs["digest"][:12]
        chosen = [plain(t.params[name]) for name in lists]
        source = t.user_attrs["source"]
        table.add_row(str(t.number), state, *values, *standing, *chosen, source, seconds, digest)
    say(table)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
