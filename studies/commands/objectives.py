"""`mergetuna objectives`: what a study can score, and the data sets that it knows by name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.commands.completion import preset_names

if TYPE_CHECKING:
    from objectives.preset import Preset


def objectives(
    preset: Annotated[
        str | None,
        typer.Argument(help="Show one data set in full.", autocompletion=preset_names),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the kinds of objectives and the data sets known by name, or show one data set."""
    from rich.markup import escape
    from rich.table import Column, Table

    from objectives.preset import all_presets, find_preset
    from studies.console import say, say_json
    from studies.kinds import KINDS

    if as_json:
        found_presets = all_presets() if preset is None else [find_preset(preset)]
        content = {"presets": [_plain(one) for one in found_presets]}
        say_json(content if preset else {"kinds": list(KINDS), **content})
        return
    if preset is not None:
        _show(find_preset(preset))
        return
    kinds = Table("kind", "scores by", "what it is")
    for name, config in KINDS.items():
        kinds.add_row(name, ", ".join(config.metrics), str(config.__doc__).splitlines()[0])
    say(kinds)
    table = Table(Column("preset", no_wrap=True), "kind", "metric", "columns", "citation")
    for found in all_presets():
        columns = ", ".join(found.rule.required)
        table.add_row(found.name, found.kind, found.metric, columns, escape(found.citation))
    say(table)
    say("`mergetuna objectives PRESET` shows one. In study.yaml: `objectives: [{preset: NAME}]`.")


def _plain(preset: "Preset") -> dict[str, Any]:
    """A data set as plain data."""
    return {
        "preset": preset.name,
        "kind": preset.kind,
        "metric": preset.metric,
        "source": preset.source,
        "columns": list(preset.rule.required),
        "runs": _runs(preset),
        "citation": preset.citation,
    }


def _runs(preset: "Preset") -> bool:
    """Whether a study can score it today."""
    from studies.data_settings import cannot_score

    return cannot_score(preset) is None


def _show(preset: "Preset") -> None:
    from rich.markup import escape
    from rich.table import Table

    from studies.console import say
    from studies.data_settings import cannot_score

    say(f"[bold]{preset.name}[/bold]  {escape(preset.citation)}\n")
    table = Table("", "", show_header=False)
    sizes = ", ".join(f"{split} {size}" for split, size in preset.split.items())
    origin = "its own source" if preset.search_on is None else preset.search_on
    further = ", ".join(f"{key} {value}" for key, value in preset.settings.items())
    rows = {
        "kind": preset.kind,
        "metric": preset.metric,
        "source": preset.source or "your own copy",
        "columns": ", ".join(preset.rule.required),
        "columns used if there": ", ".join(preset.rule.optional),
        "behind each question": preset.suffix,
        "splits": f"{sizes}, from {origin}"
        + ("" if preset.search_on is None else "; test is all of its own source"),
        "further settings": further,
        "note": preset.note,
        "in a study": cannot_score(preset) or f"- preset: {preset.name}",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, escape(text))
    say(table)
