"""What every case of benchmarks/search.py finds more than the published grid, drawn."""

from collections.abc import Sequence
from pathlib import Path

from sampling_tables import Row, difference


def draw_differences(rows: Sequence[Row], path: Path) -> None:
    """Draw test scores minus the grid's with their intervals, one panel per situation.

    Args:
        rows: of benchmarks/search.py.
        path: of the PNG.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["situation"] for row in rows))
    cases = list(dict.fromkeys(row["case"] for row in rows if row["case"] != "grid"))
    figure, panels = plt.subplots(
        1, len(names), figsize=(10, 3.6), sharey=True, layout="constrained", squeeze=False
    )
    for panel, name in zip(panels[0], names, strict=True):
        own = [row for row in rows if row["situation"] == name]
        grid = next(row for row in own if row["case"] == "grid")
        for place, case in enumerate(cases):
            found = [row for row in own if row["case"] == case]
            mean, low, high = difference(found, [grid] * len(found), grid)
            colour = {"auto+race": "#d1495b", "evolve": "#222222"}.get(case, "#2e6f9e")
            panel.plot([low, high], [place, place], color=colour, lw=1.5)
            panel.plot([mean], [place], "o", color=colour, ms=5)
        panel.axvline(0, color="#888888", lw=1, ls="--")
        panel.set(title=name, xlabel="points more than the grid, on test")
        panel.set_yticks(range(len(cases)), cases)
        panel.grid(axis="x", alpha=0.3)
    panels[0][0].invert_yaxis()
    figure.savefig(path, dpi=110)
