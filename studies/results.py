"""What a finished study prints: the table, what may be said, where everything lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from studies.console import command_name, say
from studies.paths import CHOICES, DEPTH, HISTORY, RECIPE, REPORT
from studies.table import rich_table, verdicts
from studies.voice import spoken_to


def show_results(results: Mapping[str, Any], out: Path) -> None:
    """Print a study's results as `studies.finish.finish` gives them, if a person reads along."""
    if not spoken_to():
        return
    sizes = ", ".join(f"{name} {o['n']}" for name, o in results["rows"][-1]["objectives"].items())
    say()
    say(rich_table(results["rows"], f"{results['study']}: {sizes} test examples"))
    for sentence in verdicts(results):
        say(f"- {escape(sentence)}")
    me = command_name()
    say()
    say(f"recipe      {out / RECIPE}")
    for one in results.get("front", {}).get("points", []):
        say(f"            {out / one['recipe']}  (front point {one['point']})")
    say(f"pictures    {out / HISTORY}")
    if (out / DEPTH).is_file():
        say(f"            {out / DEPTH}")
    if (out / CHOICES).is_file():
        say(f"            {out / CHOICES}")
    if (out / REPORT).is_file():
        say(f"report      {out / REPORT}")
    else:
        say(f"report      {me} report {out}")
    say(f"checkpoint  {me} merge {out / RECIPE} --out {out / 'checkpoint'}")
    say(f"all trials  {me} trials {out}    or in MLflow: {me} ui {out}")
