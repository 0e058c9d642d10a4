"""The report: figures as in results.json, no network, words for charts, unfinished studies too."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import cli
from studies.journal import SEARCH, read_trials
from studies.ledger import Ledger
from studies.report.coordinates import Coordinate, over_depth, parse
from studies.report.importance import importance
from studies.report.page import write_report
from studies.report.place import own_place
from studies.report.result_sections import interval
from studies.run import run_study
from studies.setup import read_study
from tests.reported import Page, big_ledger
from tests.tracked import ledger_of


@pytest.fixture(scope="module")
def ended(small_study: Callable[..., Path]) -> Path:
    study = read_study(small_study("reasoning", out="reported", trials=4))
    run_study(study)
    return study.out


@pytest.fixture(scope="module")
def text(ended: Path) -> str:
    return write_report(ended).page.read_text()


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def results(ended: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ended / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but a journal."""
    folder = tmp_path_factory.mktemp("running")
    big_ledger(folder, 120, items=40, dimensions=8)
    return folder


def outside(text: str) -> list[str]:
    """Addresses in the text that are not names of XML's own spaces."""
    known = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
    found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<)]*|@import|url\((?!#)", text)
    return [address for address in found if address not in known]


def test_the_page_needs_nothing_else(text: str, page: Page) -> None:
    assert page.links == []
    assert outside(text) == []
    assert "<script" not in text
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_the_tables_hold_the_figures_of_the_results(page: Page, results: dict[str, Any]) -> None:
    (table,) = page.tables["What it came to"]
    for row, cells in zip(results["rows"], table[1:], strict=True):
        expected = [row["name"], interval(row["score"])]
        gap = row.get("found_minus_this")
        assert cells[:2] == expected
        assert cells[2].rstrip(" ▲▼") == ("" if gap is None else interval(gap, sign=True))
        objectives = row["objectives"].values()
        assert cells[3:] == [interval(one) for one in objectives]
        for one, by_category in zip(
            objectives, page.tables["By category, on the test split"], strict=True
        ):
            cells = next(line for line in by_category if line[0] == row["name"])
            firsts = [cell.partition("\n")[0] for cell in cells[1:]]
            assert firsts == [interval(value) for value in one["intervals"].values()]
            assert {c: v["value"] for c, v in one["intervals"].items()} == one["categories"]


def test_an_interval_of_a_difference_is_marked_only_if_it_excludes_zero(page: Page) -> None:
    (table,) = page.tables["What it came to"]
    for cells in table[1:-1]:
        low, high = map(float, re.findall(r"[+-][\d.]+", cells[2])[1:])
        assert ("▲" in cells[2]) == (low > 0)
        assert ("▼" in cells[2]) == (high < 0)


def test_what_selection_overstated_is_told_for_each_finalist(
    page: Page, results: dict[str, Any]
) -> None:
    (table,) = page.tables["What selection overstated"]
    for finalist, cells in zip(results["finalists"], table[1:], strict=True):
        selection, confirm = finalist["selection"], finalist["confirm"]
        expected = [f"{100 * v:.1f}" for v in (selection, confirm)]
        assert cells[1:4] == [f"{100 * (selection - confirm):+.1f}", *expected]


def test_coefficients_are_those_of_the_found_recipe(
    page: Page, results: dict[str, Any], ended: Path
) -> None:
    from merge_ops.recipe_yaml import read_recipe

    recipe = read_recipe(ended / "recipe.yaml")
    (table,) = page.tables["Coefficients over depth"]
    for label, source in zip(("vlm", "math"), recipe.models, strict=True):
        values = results["coefficients"]["weight"][label]
        (own,) = [e.value for e in source.parameters["weight"] if e.filter is None]
        assert list(own) == pytest.approx(values)  # type: ignore[arg-type]
        assert next(r for r in table if r[0] == label)[1:] == [f"{v:.3f}" for v in values]


def test_the_commands_rebuild_the_recipe(page: Page, ended: Path) -> None:
    said = page.sections["Build it again"]
    assert "mergetuna merge recipe.yaml --out checkpoint" in said
    found = re.search(r"mergetuna eval recipe.yaml --study (\S+) --split test", said)
    assert found
    assert read_study(ended / found[1]).out.resolve() == ended.resolve()
    assert json.loads((ended / "results.json").read_text())["winner"]["digest"] in said


def test_every_chart_has_words_data_and_a_picture(ended: Path, page: Page) -> None:
    pictures = sorted((ended / "figures" / "report").glob("*.png"))
    assert len(page.charts) == len(pictures) >= 5
    assert all(len(words) > 30 for words in page.charts)
    assert page.details >= len(page.charts)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in pictures)


def test_importance_of_four_trials_cannot_be_told(page: Page) -> None:
    said = page.sections["What decided the score"]
    assert "it takes at least 30 trials that have a score, and there are 4" in said


def test_a_running_study_is_reported_from_its_journal_alone(running: Path) -> None:
    before = (running / "ledger.journal").read_bytes()
    found = Page(write_report(running, own_place(running / "elsewhere")).page.read_text())
    assert (running / "ledger.journal").read_bytes() == before
    assert sorted(p.name for p in running.iterdir()) == ["elsewhere", "ledger.journal"]
    assert "Unfinished: the study was stopped before its end, 120 trials" in found.sections[""]
    assert "What it came to" not in found.sections
    assert "11 x <b>not finite</b> & more" in found.sections["Failures"]
    assert "1 of 8 coordinates stand out" in found.sections["What decided the score"]
    assert "weight.math.3" in found.sections["What decided the score"]
    assert "Racing stopped 16 of 109 trials" in found.sections["The search"]
    assert any("beaten on both by none" in words for words in found.charts)


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    ledger_of(tmp_path, 1, failed=(0,))
    (tmp_path / "about.json").write_text(json.dumps({"study": "<script>x</script>"}))
    text = write_report(tmp_path).page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(("trials", "flat", "why"), [(120, True, "same score"), (20, False, "30")])
def test_importance_says_when_it_cannot_be_told(
    tmp_path: Path, trials: int, flat: bool, why: str
) -> None:
    big_ledger(tmp_path, trials, items=20, dimensions=4, flat=flat)
    found = importance(read_trials(tmp_path))
    assert not found.shares
    assert why in found.why_not
    Page(write_report(tmp_path).page.read_text())


def test_importance_of_noise_does_not_stand_out(tmp_path: Path) -> None:
    big_ledger(tmp_path, 150, items=40, dimensions=8)
    trials = read_trials(tmp_path)
    assert importance(trials).told()[0] == "weight.math.3"
    for trial in trials:  # the one that decides is taken away
        trial.params = {k: v for k, v in trial.params.items() if k != "weight.math.3"}
        trial.distributions = {k: v for k, v in trial.distributions.items() if k in trial.params}
    assert len(importance(trials).told()) <= 1


@pytest.mark.parametrize("failed", [False, True])
def test_a_study_without_a_score_has_a_report(tmp_path: Path, failed: bool) -> None:
    ledger_of(tmp_path, 2 if failed else 0, failed=(0, 1))
    found = Page(write_report(tmp_path).page.read_text())
    assert "Unfinished" in found.sections[""]
    assert found.charts == []


def test_a_folder_that_is_no_studys_is_said_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds ledger\.journal or storage\.json, but this one does not"
    ):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_paths_are_printed_for_scripts(tmp_path: Path) -> None:
    ledger_of(tmp_path, 1)
    out = str(tmp_path / "r.html")
    said = CliRunner().invoke(cli.app, ["report", str(tmp_path), "--out", out, "--json"])
    told = json.loads(said.stdout)
    assert told["report"] == out
    assert all(Path(path).is_file() for path in told["pictures"])


def test_names_of_coordinates_are_taken_apart() -> None:
    assert parse("weight.math.2.mlp") == Coordinate("weight", "math", 2, "mlp")
    assert parse("density.3") == Coordinate("density", "", 3, "")
    assert parse("weight.7.0", owners=["7"]) == Coordinate("weight", "7", 0, "")
    assert parse("lambda") == Coordinate("lambda")
    table = over_depth({"weight.a.0": 1.0, "weight.a.1": 2.0, "rule": "sum", "t": 3})
    assert table == {"weight": {"a": [1.0, 2.0]}, "t": {"all": [3.0]}}


@pytest.mark.slow
def test_ten_thousand_trials_take_seconds(tmp_path: Path) -> None:
    big_ledger(tmp_path, 10_000)
    begun = time.process_time()
    assert len(Ledger(tmp_path, SEARCH, []).trials) == 10_000
    assert time.process_time() - begun < 5.0
    for command, most in (("status", 5.0), ("report", 30.0)):
        begun = time.perf_counter()
        line = [sys.executable, "-m", "studies.cli", command, str(tmp_path)]
        subprocess.run(line, check=True, capture_output=True)
        spent = time.perf_counter() - begun
        assert spent < most, (command, spent)
    assert (tmp_path / "report.html").stat().st_size < 5e6
