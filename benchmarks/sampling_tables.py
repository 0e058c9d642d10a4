"""Tables of benchmarks/search.py: figures over seeds, differences on the same items."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

Row = Mapping[str, Any]

_RESAMPLES = 4000
_COLUMNS = (
    "case (seeds)",
    "trials",
    "test, mean [95 %]",
    "minus grid",
    "items until the grid's confirm score, share",
    "reached",
    "saved",
    "at most",
    "wrong stops",
)


def tables(rows: Sequence[Row]) -> str:
    """Markdown: a table per situation, then differences from global search, and from "evolve"."""
    text = ""
    names = list(dict.fromkeys(row["situation"] for row in rows))
    for name in names:
        text += _situation(name, [row for row in rows if row["situation"] == name])
    depth = _against("global", "per band minus global, points on test", rows, names)
    return text + depth + "\n" + _against("evolve", "minus evolve", rows, names)


def _situation(name: str, rows: Sequence[Row]) -> str:
    grid = next(row for row in rows if row["case"] == "grid")
    lines = [
        f"**{name}**: the grid took {grid['items']:,} items; its winner scores "
        f"{100 * grid['confirm']:.1f} on confirm, {100 * grid['test']:.1f} on test.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|---|" + "---:|" * (len(_COLUMNS) - 1),
    ]
    cases = dict.fromkeys(row["case"] for row in rows if row["case"] != "grid")
    lines += [_line(case, [r for r in rows if r["case"] == case], grid) for case in cases]
    return "\n".join(lines) + "\n\n"


def _line(case: str, rows: Sequence[Row], grid: Row) -> str:
    tests = [100 * row["test"] for row in rows]
    reached = [_reached(row, grid) for row in rows]
    low, high = _bounds(tests)
    shares = f"{_quantile(reached, 0.5)} ({_quantile(reached, 0)} to {_quantile(reached, 1)})"
    cells = [
        f"{case} ({len(rows)})",
        f"{median(row['trials'] for row in rows):.0f}",
        f"{fmean(tests):.1f} [{low:.1f}, {high:.1f}]",
        _over_seeds(rows, [grid] * len(rows), grid),
        shares,
        f"{sum(r is not None for r in reached)}/{len(rows)}",
        "-",
        "-",
        "-",
    ]
    raced = [row["racing"] for row in rows if "racing" in row]
    if raced:
        saved = [100 * (1 - r["items_scored"] / r["items"]) for r in raced]
        low, high = _bounds(saved)
        cells[-3] = f"{fmean(saved):.0f} % [{low:.0f}, {high:.0f}]"
        most = [100 * row["most"] for row in rows if "most" in row]
        cells[-2] = f"{fmean(most):.0f} %" if most else "-"
        cells[-1] = f"{sum(row['wrong'] for row in rows)} of {5 * len(rows)}"
    return "| " + " | ".join(cells) + " |"


def _reached(row: Row, grid: Row) -> float | None:
    """Share of the grid's items until the incumbent was as good on confirm; None if never."""
    found = (used for used, score in row["incumbents"] if score >= grid["confirm"] - 1e-4)
    used = next(found, None)
    return None if used is None else used / grid["items"]


def _quantile(shares: Sequence[float | None], at: float) -> str:
    """The lower median, the least or the most; never is more than anything."""
    ordered = sorted(float("inf") if share is None else share for share in shares)
    value = ordered[round(at * (len(ordered) - 1) + (1e-9 if at == 0.5 else 0))]
    return "never" if value == float("inf") else f"{value:.3f}"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap of a mean over seeds."""
    draws = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values)))
    low, high = np.percentile(draws.mean(1), [2.5, 97.5])
    return float(low), float(high)


def _against(rival: str, title: str, rows: Sequence[Row], names: Sequence[str]) -> str:
    """Every case minus one of them, seed by seed on the same test items."""
    found = {(row["situation"], row["case"], row["seed"]): row for row in rows}
    cases = dict.fromkeys(row["case"] for row in rows if row["case"] not in ("grid", rival))
    lines = [
        f"| {title} | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for case in cases:
        cells = []
        for name in names:
            seeds = [s for n, c, s in found if (n, c) == (name, case)]
            seeds = [s for s in seeds if (name, rival, s) in found]
            ours = [found[name, case, s] for s in seeds]
            theirs = [found[name, rival, s] for s in seeds]
            told = _over_seeds(ours, theirs, found[name, "grid", 0]) if seeds else "-"
            cells.append(f"{told} ({len(seeds)})")
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _over_seeds(ours: Sequence[Row], theirs: Sequence[Row], grid: Row) -> str:
    """Mean difference in points, in words."""
    mean, low, high = difference(ours, theirs, grid)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def difference(
    ours: Sequence[Row], theirs: Sequence[Row], grid: Row
) -> tuple[float, float, float]:
    """Mean difference in points on test, and the ends of its 95 % interval.

    The bootstrap draws seeds, and examples within strata.
    """
    strata = np.array(grid["strata"])
    weights = 100 * np.array(grid["weights"])[strata]  # (examples,)
    gaps = np.array([_values(a) for a in ours]) - np.array([_values(b) for b in theirs])
    gaps = gaps * weights  # (seeds, examples)
    random = np.random.default_rng(0)
    counts = random.multinomial(len(gaps), np.full(len(gaps), 1 / len(gaps)), _RESAMPLES)
    means = counts @ gaps / len(gaps)  # (resamples, examples)
    draws = np.zeros(_RESAMPLES)
    for stratum in range(len(grid["weights"])):
        part = means[:, strata == stratum]
        size = part.shape[1]
        times = random.multinomial(size, np.full(size, 1 / size), _RESAMPLES)
        draws += (times * part).sum(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(gaps.sum(1).mean()), float(low), float(high)


def _values(row: Row) -> list[float]:
    """The test examples' values, as `replayed_scores.bits` packed them."""
    return [float(bit) for bit in f"{int(row['bits'], 16):b}"[1:]]
