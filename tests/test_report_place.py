"""Where a report may be written: never over anything else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import cli
from studies.report.place import chosen_place
from tests.tracked import ledger_of


@pytest.fixture(scope="module")
def studies_(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two studies of a few trials."""
    root = tmp_path_factory.mktemp("two")
    for name, trials in (("one", 3), ("two", 4)):
        ledger_of(root / name, trials)
    return root / "one", root / "two"


def reported(folder: Path, out: Path) -> None:
    done = CliRunner().invoke(cli.app, ["report", str(folder), "--out", str(out)])
    if done.exception is not None:
        raise done.exception


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("one/ledger.journal", r"does not end in \.html"),
        ("study.yaml", r"does not end in \.html"),
        ("notes.html", "exists and is no report; it is left alone"),
        ("empty.html", "exists and is no report"),
        ("linked.html", "exists and is no report"),
        ("dangling.html", "exists and is no report"),
        ("folder.html", "is a folder; take .*report.html"),
        ("one", "is a folder; take .*report.html"),
        ("two/night.html", "lies in the folder of another study"),
        ("night.html", "night-charts, where its pictures would lie, exists without it"),
    ],
)
def test_a_report_replaces_nothing_but_a_report(
    studies_: tuple[Path, Path], tmp_path: Path, name: str, why: str
) -> None:
    for folder in studies_:
        (tmp_path / folder.name).mkdir()
        (tmp_path / folder.name / "ledger.journal").write_bytes(
            (folder / "ledger.journal").read_bytes()
        )
    for own in ("study.yaml", "notes.html", "night-charts/mine.png"):
        (tmp_path / own).parent.mkdir(exist_ok=True)
        (tmp_path / own).write_text("<p>of somebody else</p>")
    (tmp_path / "empty.html").touch()
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "linked.html").symlink_to(tmp_path / "study.yaml")
    (tmp_path / "dangling.html").symlink_to(tmp_path / "nowhere")
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    with pytest.raises(UserError, match=why):
        reported(tmp_path / "one", tmp_path / name)
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


def test_reports_of_two_studies_in_one_folder_keep_their_pictures(
    studies_: tuple[Path, Path], tmp_path: Path
) -> None:
    for folder in studies_:
        reported(folder, tmp_path / f"{folder.name}.html")
    charts = [sorted((tmp_path / f"{f.name}-charts").glob("*.png")) for f in studies_]
    assert all(charts)
    assert [p.name for p in charts[0]] == [p.name for p in charts[1]]
    assert any(a.read_bytes() != b.read_bytes() for a, b in zip(*charts, strict=True))
    assert {p.name for p in tmp_path.iterdir()} == {
        *("one.html", "two.html", "one-charts", "two-charts")
    }
    reported(studies_[0], tmp_path / "one.html")  # an earlier report may be replaced


def test_a_studys_own_page_keeps_its_own_pictures(tmp_path: Path) -> None:
    place = chosen_place(tmp_path, tmp_path / "report.html")
    assert place.charts == tmp_path / "figures" / "report"
