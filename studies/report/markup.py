"""Pieces of HTML: tables, charts with their words, folded data, commands."""

import re
from collections.abc import Sequence
from html import escape

from studies.report.drawing import Chart, svg


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    marked: frozenset[int] = frozenset(),
) -> str:
    """A table in a frame that scrolls by itself; the first cell of a row is its title.

    Args:
        columns: titles, as text.
        rows: cells, as text; a line break starts a second, smaller line.
        caption: above it, as text.
        marked: rows that stand out.
    """
    head = "".join(f'<th scope="col">{_bounds(title)}</th>' for title in columns)
    lines = []
    for i, row in enumerate(rows):
        first, *rest = row
        cells = f'<th scope="row">{escape(first)}</th>'
        cells += "".join(f"<td>{_cell(text)}</td>" for text in rest)
        lines.append(f"<tr{' class=found' if i in marked else ''}>{cells}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    first, _, second = text.partition("\n")
    return _bounds(first) + (f"<small>{_bounds(second)}</small>" if second else "")


def _bounds(text: str) -> str:
    """A figure and its interval (a title and its count), the one below the other on a phone."""
    found = re.fullmatch(r"(.+? )([\[(].*)", text)
    if found is None:
        return escape(text)
    return f'{escape(found[1])}<span class="bounds">{escape(found[2])}</span>'


def figure(chart: Chart) -> str:
    """A chart with its caption, its words and its data."""
    width = chart.figure.get_size_inches()[0] * 72
    broad = " class=broad" if _least(width) else ""
    return (
        f'<figure{broad}><div class="wide" tabindex="0"><div class="chart" role="img" '
        f'aria-label="{escape(chart.alt, quote=True)}" '
        f'style="max-width:{1.45 * width:.0f}px;min-width:{_least(width):.0f}px">'
        f"{svg(chart)}</div></div><figcaption>{escape(chart.caption)}</figcaption>"
        f"{folded('Data', table(chart.columns, chart.rows))}</figure>"
    )


def _least(width: float) -> float:
    """Narrower than this a wide chart scrolls instead of shrinking."""
    return 0 if width <= 360 else 0.9 * width


def charts(several: Sequence[Chart]) -> str:
    """Charts side by side, where there is room."""
    return f'<div class="charts">{"".join(map(figure, several))}</div>'


def folded(title: str, content: str) -> str:
    """What is shown on request."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def section(title: str, *content: str) -> str:
    """A part of the page; nothing where it has no content."""
    inner = "".join(content)
    return f"<section><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def bullets(lines: Sequence[str]) -> str:
    """A list of texts."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def commands(lines: Sequence[str]) -> str:
    """Lines to copy into a shell."""
    return f'<pre tabindex="0"><code>{escape(chr(10).join(lines))}</code></pre>'
