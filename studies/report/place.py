"""Where a report is written: a page of its own, never over what is no report of ours."""

from dataclasses import dataclass
from pathlib import Path

from merge_ops.errors import UserError
from studies.journal import JOURNAL
from studies.paths import CHARTS, REPORT

SIGNATURE = "Written by Mergetuna"
"""Stands at the end of every page; by it a page is known again."""
_END = 4096  # bytes in which it stands


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files of a report.

    Attributes:
        page: the HTML file.
        charts: the folder of its pictures.
    """

    page: Path
    charts: Path


def own_place(folder: Path) -> ReportFiles:
    """The place in the folder that holds the study, or what is released of it."""
    return ReportFiles(folder / REPORT, folder / CHARTS)


def chosen_place(folder: Path, page: Path) -> ReportFiles:
    """The place that somebody chose: pictures lie beside the page, in a folder named after it.

    Args:
        folder: the study's; its own page keeps its own pictures.
        page: the HTML file; an earlier report may be there.

    Raises:
        UserError: something else would be overwritten; nothing has been written.
    """
    own = own_place(folder)
    if page.absolute() == own.page.absolute():
        return own
    found = ReportFiles(page, page.with_name(f"{page.stem}-charts"))
    wrong = _harm(folder, found)
    if wrong is not None:
        raise UserError(f"--out must name an .html file of its own, but {wrong}.")
    return found


def _harm(folder: Path, place: ReportFiles) -> str | None:
    page, charts = place.page, place.charts
    if page.is_dir():
        return f"{page} is a folder; take {page / REPORT}"
    if page.suffix.lower() != ".html":
        return f"{page} does not end in .html"
    above = page.absolute().parent
    if (above / JOURNAL).exists() and above.resolve() != folder.resolve():
        return f"{page} lies in the folder of another study"
    if page.exists() or page.is_symlink():
        return None if _is_report(page) else f"{page} exists and is no report; it is left alone"
    if charts.exists() and not (charts.is_dir() and not any(charts.iterdir())):
        return f"{charts}, where its pictures would lie, exists without it; choose another name"
    return None


def _is_report(page: Path) -> bool:
    """Whether a file is a page that this program wrote, whole."""
    if page.is_symlink() or not page.is_file():
        return False
    with page.open("rb") as stream:
        stream.seek(max(0, page.stat().st_size - _END))
        return SIGNATURE.encode() in stream.read()
