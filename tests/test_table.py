"""What a study may say of itself."""

import io
from typing import Any

import pytest
from rich.console import Console

from studies.comparison import BEST_GLOBAL, FOUND, ScoredRow, describe
from studies.table import cells, header, markdown_table, rich_table, verdicts
from tests.test_statistics import scores


def results(found: list[float], rival: list[float]) -> dict[str, Any]:
    rows = [ScoredRow(BEST_GLOBAL, (scores(rival),)), ScoredRow(FOUND, (scores(found),))]
    winner = {"selection": 0.9, "confirm": 0.8}
    return {"rows": describe(rows, rows[-1]), "winner": winner, "test_reads": 2}


@pytest.mark.parametrize(
    ("found", "rival", "verdict"),
    [
        ([1.0] * 40 + [0.0] * 10, [0.0] * 40 + [0.0] * 10, "beats"),
        ([1.0] * 25 + [0.0] * 25, [1.0] * 25 + [0.0] * 25, "is not shown to beat"),
        ([0.0] * 50, [1.0] * 40 + [0.0] * 10, "is not shown to beat"),
    ],
)
def test_depth_is_praised_only_where_the_interval_allows(
    found: list[float], rival: list[float], verdict: str
) -> None:
    (sentence,) = [s for s in verdicts(results(found, rival)) if s.startswith("The search over")]
    assert f"over depth {verdict} the {BEST_GLOBAL}" in sentence


def test_what_selection_overstated_and_the_looks_at_test_are_told() -> None:
    told = " ".join(verdicts(results([1.0, 0.0], [0.0, 0.0])))
    assert "90.0 on the selection split, 80.0 on confirm and 50.0 on test" in told
    assert "has been read 2 times" in told


def test_one_objective_shows_its_categories_overall_and_macro() -> None:
    rows = results([1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0])["rows"]
    assert header(rows)[3:] == ["a", "b", "overall", "macro"]
    assert cells(rows[1])[3:] == ["0.0", "100.0", "50.0", "50.0"]
    assert cells(rows[1])[2] == ""
    assert cells(rows[0])[2].startswith("+25.0 [")
    assert markdown_table(rows).count("|") == 4 * 8


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_narrow_terminal_loses_no_digit(width: int) -> None:
    rows = results([1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0])["rows"]
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(rows, "study"))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    assert "\u2026" not in "".join(lines)
    shown = {word for line in lines for word in line.replace("\u2502", " ").split()}
    assert {word for row in rows for cell in cells(row)[1:] for word in cell.split()} <= shown
