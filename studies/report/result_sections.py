"""The parts of a report that tell what a finished study came to, and how to build it again."""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from studies.paths import RECIPE
from studies.report.charts import percent
from studies.report.facts import Facts
from studies.report.markup import bullets, commands, folded, paragraph, table

Row = Mapping[str, Any]
"""A row of the study's table, as `results.json` holds it."""


def interval(value: Mapping[str, float], *, sign: bool = False) -> str:
    """Per cent with its 95 % interval; of a difference with its sign."""
    plus = "+" if sign else ""
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{100 * value['value']:{plus}.1f} [{low:{plus}.1f}, {high:{plus}.1f}]"


def test_table(rows: Sequence[Row]) -> str:
    """Every row with its score, and what the found recipe gains on it."""
    objectives = list(rows[-1]["objectives"])
    several = objectives if len(objectives) > 1 else []
    lines = [
        (
            row["name"],
            interval(row["score"]),
            _gap(row.get("found_minus_this")),
            *(interval(row["objectives"][name]) for name in several),
        )
        for row in rows
    ]
    titles = ("on the test split, %", "score [95 %]", "found minus this [95 %]", *several)
    return table(titles, lines, marked=frozenset({len(rows) - 1}))


def category_tables(rows: Sequence[Row]) -> str:
    """By objective: a row per model, a column per category, the found recipe's gain below."""
    tables = []
    for name, own in rows[-1]["objectives"].items():
        sizes = own.get("intervals", {})
        columns = [f"{c} (n = {sizes[c]['n']})" if c in sizes else c for c in own["categories"]]
        lines = [(row["name"], *_categories(row, name, own["categories"])) for row in rows]
        tables.append(
            table(("", *columns), lines, caption=name, marked=frozenset({len(rows) - 1}))
        )
    note = (
        "Below, in grey: the found recipe minus this row, in points; \u25b2 and \u25bc: the "
        "interval lies above or below 0. "
        "Intervals are not corrected for their number: of twenty, one excludes the truth."
    )
    return "".join(tables) + paragraph(note, "note")


def _categories(row: Row, objective: str, names: Sequence[str]) -> list[str]:
    own = row["objectives"][objective]
    gaps = row.get("found_minus_this", {}).get("objectives", {}).get(objective, {})
    texts = []
    for name in names:
        known = own.get("intervals", {}).get(name)
        text = interval(known) if known else percent(own["categories"][name])
        gap = gaps.get("categories", {}).get(name)
        texts.append(text + (f"\n{_gap(gap)}" if gap else ""))
    return texts


def _gap(value: Mapping[str, float] | None) -> str:
    """A difference; a sign tells whether it is established."""
    if value is None:
        return ""
    mark = " \u25b2" if value["low"] > 0 else " \u25bc" if value["high"] < 0 else ""
    return interval(value, sign=True) + mark


def overstated(results: Mapping[str, Any]) -> str:
    """Selection against confirm for every finalist, and test for the winner."""
    finalists = results["finalists"]
    test = results["rows"][-1]["score"]
    believed = all(f.get("shrunken") is not None for f in finalists)
    rows = [
        (
            f"trial {f['trial']}" + (", the winner" if i == 0 else ""),
            f"{100 * (f['selection'] - f['confirm']):+.1f}",
            percent(f["selection"]),
            percent(f["confirm"]),
            *([percent(f["shrunken"])] if believed else []),
            interval(test) if i == 0 else "",
        )
        for i, f in enumerate(finalists)
    ]
    mean = sum(f["selection"] - f["confirm"] for f in finalists) / len(finalists)
    text = (
        f"The best {len(finalists)} of the search were scored again on examples that it had not "
        f"seen. On average the selection split overstated them by {100 * mean:.1f} points"
        + (" (a negative figure: it did not)." if mean < 0 else ".")
    )
    shrunk = ("selection, shrunken %",) if believed else ()
    titles = ("finalist", "overstated", "selection %", "confirm %", *shrunk, "test % [95 %]")
    return paragraph(text) + table(titles, rows, marked=frozenset({0}))


def rebuild(facts: Facts) -> str:
    """The exact commands, the models by their sums, and the versions."""
    file = facts.status.about.get("file")
    lines = [f"cd {shlex.quote(os.fspath(facts.folder.resolve().name))}"]
    if facts.results is not None:
        lines.append(f"mergetuna merge {RECIPE} --out checkpoint")
        if file:
            lines.append(f"mergetuna eval {RECIPE} --study {shlex.quote(file)} --split test")
    if file:
        lines.append(f"mergetuna run {shlex.quote(file)}")
    parts = [paragraph("From the folder above the study's own:"), commands(lines)]
    seed, digest = facts.status.about.get("seed"), facts.provenance.get("digest")
    known = {"recipe's digest": digest, "seed": seed}
    parts.append(bullets([f"{name}: {v}" for name, v in known.items() if v is not None]))
    sums = facts.provenance.get("models_sha256", {})
    if sums:
        rows = [(str(name), str(value)) for name, value in sums.items()]
        parts.append(folded("Models", table(("model", "sha256"), rows)))
    versions = facts.provenance.get("versions", {})
    if versions:
        rows = [(str(name), str(value)) for name, value in versions.items()]
        parts.append(folded("Versions", table(("package", "version"), rows)))
    return "".join(parts)
