"""The study's table: every row with its 95 % interval, and what the found recipe gains on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studies.front_words import front_sentences
from studies.guard_words import guard_sentences
from studies.shortcuts import shortcut_lines

if TYPE_CHECKING:
    from rich.table import Table

FOUND = "found recipe"
BEST_GLOBAL = "best global coefficients"

Described = Mapping[str, Any]
"""One row as `studies.comparison.describe` gives it."""


def header(rows: Sequence[Described]) -> list[str]:
    """Column titles."""
    objectives = rows[0]["objectives"]
    titles = ["test split", "score [95 %]", "found minus this [95 %]"]
    if len(objectives) > 1:
        return [*titles, *objectives]
    (only,) = objectives.values()
    return [*titles, *only["categories"], "overall", "macro"]


def cells(row: Described) -> list[str]:
    """One line of the table; shares in per cent, differences in points."""
    texts = [row["name"], _interval(row["score"])]
    difference = row.get("found_minus_this")
    texts.append("" if difference is None else _interval(difference, sign=True))
    objectives = row["objectives"].values()
    if len(row["objectives"]) > 1:
        return texts + [_interval(o) for o in objectives]
    (only,) = objectives
    shares = [*only["categories"].values(), only["micro"], only["macro"]]
    return texts + [f"{100 * share:.1f}" for share in shares]


def rich_table(rows: Sequence[Described], title: str) -> "Table":
    """For a terminal; on a narrow one cells take several lines, and no digit is left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header(rows)):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, cells(row)), style="bold" if row["name"] == FOUND else None)
    return table


def markdown_table(rows: Sequence[Described]) -> str:
    """For a report."""
    lines = [header(rows), ["---"] + ["---:"] * (len(header(rows)) - 1)]
    lines += [cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def verdicts(results: Mapping[str, Any]) -> list[str]:
    """What the intervals allow to be said, in sentences."""
    rows = {row["name"]: row for row in results["rows"]}
    found = rows[FOUND]
    sentences = []
    for name, row in rows.items():
        if name.endswith(" alone") or ", " in name or name in {"plain average", BEST_GLOBAL}:
            parts = [
                f"{objective} {_interval(gap, sign=True)}{_established(gap)}"
                for objective, gap in row.get("found_minus_this", {}).get("objectives", {}).items()
            ]
            if parts:
                sentences.append(f"Found recipe minus {name}: {'; '.join(parts)} points.")
    if BEST_GLOBAL in rows:
        rival = rows[BEST_GLOBAL]["found_minus_this"]
        verdict = "beats" if rival["low"] > 0 else "is not shown to beat"
        sentences.append(
            f"The search over depth {verdict} the {BEST_GLOBAL} of a search of equal budget: "
            f"{_interval(rival, sign=True)} points."
        )
    if results.get("tasks"):
        views = ", ".join(f"{name} by {task!r}" for name, task in results["tasks"].items())
        sentences.append(f"The found recipe has one view per task, which scores it: {views}.")
    sentences += front_sentences(results) + guard_sentences(results) + _beside(results, found)
    sentences += [f"{line}." for line in shortcut_lines(results.get("self_check", []))]
    if results.get("proxy"):
        sentences.append(_proxy(results["proxy"]))
    selection = results["winner"]
    if selection.get("choices"):
        sentences.append(f"Of the listed values the found recipe takes {chosen(selection)}.")
    sentences.append(
        f"The winner scored {100 * selection['selection']:.1f} on the selection "
        f"split{_twin(results)}{_believed(selection)}, "
        f"{100 * selection['confirm']:.1f} on confirm and {100 * found['score']['value']:.1f} on "
        f"test; the test split has been read {results['test_reads']} times."
    )
    return sentences


def _beside(results: Mapping[str, Any], found: Described) -> list[str]:
    """What picking one of N is measured against, and what went wrong with the found recipe."""
    lines = [f"On test, {line}." for line in results.get("beside", [])]
    mishaps = {name: own.get("mishaps") for name, own in found["objectives"].items()}
    return lines + [f"Found recipe, {name}: {text}." for name, text in mishaps.items() if text]


def _proxy(found: Mapping[str, Any]) -> str:
    """How the search signal ranks candidates."""
    return (
        f"Over {found['n']} candidates the smooth signal ranks as the metric does with a rank "
        f"correlation of {found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}] "
        "(Spearman, selection split)."
    )


def _believed(winner: Mapping[str, Any]) -> str:
    """What shrinkage leaves of the winner's selection score, where it can be told."""
    known = winner.get("shrunken")
    return "" if known is None else f" ({100 * known:.1f} when shrunken)"


def _twin(results: Mapping[str, Any]) -> str:
    names = ", ".join(results.get("smooth", []))
    twin = f" (by the smooth twin of {names})" if names else ""
    seeds = results.get("average_seeds", 1)
    mean = f" (a mean over {seeds} seeds of masks; the recipe has the first)" if seeds > 1 else ""
    return twin + mean


def chosen(winner: Mapping[str, Any]) -> str:
    """The listed values that a winner takes, as in "t 300, rule entropy"; may be empty."""
    return ", ".join(f"{name} {plain(v)}" for name, v in winner.get("choices", {}).items())


def plain(value: bool | float | str) -> str:
    """As in a study file: whole numbers without a fraction, true and false in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _interval(value: Mapping[str, float], *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{100 * value['value']:{plus}.1f} [{low:{plus}.1f}, {high:{plus}.1f}]"


def _established(gap: Mapping[str, float]) -> str:
    return " (not established)" if gap["low"] <= 0 <= gap["high"] else ""
