"""Charts as figures, and figures as themed SVG for the page or PNG beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

INK = "#0a0b0c"
"""Stands for the page's own text colour, so that a chart is light or dark as the page is."""
BEST, POINT, PALE = "#d1495b", "#3f7fd0", "#8a8f98"
"""Seen on white and on black alike."""
WIDTH, HEIGHT = 4.9, 3.1  # inches; at 72 to the inch about as wide as a phone
_BEHIND_HUNDRED = 100.4
_MANY = 1500  # points from which a chart holds a picture of them instead

_STYLE: dict[Any, Any] = {  # matplotlib types its keys one by one
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page.

    Attributes:
        name: of its PNG.
        caption: below it.
        alt: what it shows, in words, for those who cannot see it.
        figure: matplotlib's.
        columns: titles of its data.
        rows: its data.
    """

    name: str
    caption: str
    alt: str
    figure: Any
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> tuple[Any, Any]:
    """A figure and its axes, drawn without a screen."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots()


def scatter(axis: Any, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    """Points; many of them as one picture, for a page of ten thousand would be slow."""
    axis.scatter(
        x, y, s=12, color=colour, alpha=0.85, lw=0, label=label, rasterized=len(x) > _MANY
    )


def up_to_hundred(axis: Any, x: Sequence[float], y: Sequence[float]) -> None:
    """Axes of per cent end there, with room for the points, where the values do."""
    right, top = axis.get_xlim()[1], axis.get_ylim()[1]
    if max(x, default=0.0) <= 100 < right:
        axis.set_xlim(right=min(right, _BEHIND_HUNDRED))
    if max(y, default=0.0) <= 100 < top:
        axis.set_ylim(top=min(top, _BEHIND_HUNDRED))


def hollow(axis: Any, x: Sequence[float], y: Sequence[float], label: str) -> None:
    """Points that do not count."""
    axis.scatter(
        x,
        y,
        s=14,
        facecolors="none",
        edgecolors=PALE,
        lw=0.8,
        label=label,
        rasterized=len(x) > _MANY,
    )


def legend(axis: Any) -> None:
    """In one row above the chart, where it covers nothing."""
    axis.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        borderaxespad=0.2,
        columnspacing=1.4,
        handlelength=1.5,
    )


def svg(chart: Chart) -> str:
    """The chart as an `svg` element for a page: no size of its own, no names, the page's ink."""
    from matplotlib import rc_context

    stream = StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": chart.name}):
        chart.figure.savefig(stream, format="svg", transparent=True, dpi=150)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace(INK, "currentColor")
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def write_png(chart: Chart, folder: Path) -> Path:
    """The chart as a file, on white."""
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{chart.name}.png"
    with rc_context(_STYLE):
        chart.figure.savefig(path, dpi=150, facecolor="white")
    return path
