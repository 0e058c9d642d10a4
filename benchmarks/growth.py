"""How a candidate's cost grows, drawn from the rows of benchmarks/engine.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median_high
from typing import Any


def draw_growth(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw CPU seconds over parameters and over experts, one line per method, beside copying.

    Args:
        rows: of one number of threads; each panel takes the rows in which only its quantity
            varies, the others being those met most often, or the middle one of them.
        path: of the PNG.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sizes = _common(rows, "parameters", other="experts")
    experts = _common(rows, "experts", other="parameters")
    _panel(panels[0], [r for r in rows if r["experts"] == sizes], "parameters", 1e6)
    _panel(panels[1], [r for r in rows if r["parameters"] == experts], "experts", 1)
    panels[0].set(xlabel=f"million parameters ({sizes} experts)", xscale="log", yscale="log")
    panels[1].set(xlabel=f"experts ({experts / 1e6:.0f} million parameters)")
    sizes_met = sorted({row["parameters"] / 1e6 for row in rows})
    panels[0].set_xticks(sizes_met, [f"{size:.0f}" for size in sizes_met])
    panels[0].minorticks_off()
    panels[1].set_xticks(sorted({row["experts"] for row in rows}))
    for panel in panels:
        panel.set_ylabel("CPU seconds per candidate")
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _common(rows: Sequence[Mapping[str, Any]], varied: str, other: str) -> int:
    """The value of `other` for which `varied` takes the most values; the middle one of several."""
    seen = {row[other]: {r[varied] for r in rows if r[other] == row[other]} for row in rows}
    most = max(map(len, seen.values()))
    return int(median_high(value for value, met in seen.items() if len(met) == most))


def _panel(panel: Any, rows: Sequence[Mapping[str, Any]], key: str, unit: float) -> None:
    for method in dict.fromkeys(row["method"] for row in rows):
        own = sorted((row for row in rows if row["method"] == method), key=lambda r: r[key])
        panel.plot(
            [r[key] / unit for r in own], [r["cpu_seconds"] for r in own], "o-", label=method
        )
    copies = {row[key]: row["copy_seconds"] for row in sorted(rows, key=lambda r: r[key])}
    places = [value / unit for value in copies]
    panel.plot(places, list(copies.values()), "k--", label="copy_ of one model")
