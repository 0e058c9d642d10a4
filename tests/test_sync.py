"""`mergetuna sync` and `report`: what MLflow lacks of a study is filled in from its folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from studies import cli, sync
from studies.report.page import Written
from tests.tracked import Store, ledger_of, mirrored


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


def study_of(store: Store, name: str, trials: int, *, ended: bool = False) -> Path:
    """A study's folder without the study: its ledger, its settings and what it came to."""
    folder = store.folder / name
    ledger_of(folder, trials, failed=(1,))
    settings = {"name": name, "sampler": "tpe", "tracking": {"enabled": True, "uri": store.uri}}
    (folder / "settings.json").write_text(json.dumps(settings))
    if ended:
        found = {"value": 0.5, "categories": {"kind 0": 0.25}}
        row = {"score": {"value": 0.5}, "objectives": {"vqa": found}}
        (folder / "results.json").write_text(json.dumps({"rows": [row]}))
        (folder / "recipe.yaml").write_text("merge_method: linear\n")
        (folder / "results.md").write_text("| table |\n")
    return folder


def told(*arguments: str) -> dict[str, object]:
    said = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert said.exit_code == 0, said.output
    found: dict[str, object] = json.loads(said.stdout)
    return found


def test_what_is_missing_is_written_and_a_second_time_nothing(store: Store) -> None:
    folder = study_of(store, "filled", 2)
    mirrored(ledger_of(folder, 2), store.uri, "filled")
    study_of(store, "filled", 5, ended=True)
    found = told("sync", str(folder))
    assert found == {
        "uri": store.uri,
        "experiment": "filled",
        "trials": 5,
        "written": 3,
        "summary": True,
        "without": found["without"],
    }
    assert "does not say where its study file lies" in str(found["without"])
    runs = store.runs("filled")
    assert sorted(runs) == ["summary", *(f"trial-{n:04d}" for n in range(5))]
    expected = {"test": 0.5, "test.vqa": 0.5, "test_slice.vqa.kind 0": 0.25}
    assert runs["summary"].data.metrics == expected
    ids = {name: run.info.run_id for name, run in runs.items()}
    assert told("sync", str(folder))["written"] == 0
    assert {name: run.info.run_id for name, run in store.runs("filled").items()} == ids


def test_a_report_made_by_hand_joins_the_summary(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.report import page

    folder = study_of(store, "reported", 2, ended=True)

    def write(of: Path, out: Path | None = None) -> Written:
        path = out or of / "report.html"
        path.write_text("by hand")
        return Written(path, [])

    monkeypatch.setattr(page, "write_report", write)
    assert "lacks it" in str(told("report", str(folder))["tracking"])
    told("sync", str(folder))
    assert "experiment reported" in str(told("report", str(folder))["tracking"])
    run = store.runs("reported")["summary"]
    files = store.folder / "mlartifacts" / run.info.run_id / "artifacts"
    assert (files / "report.html").read_text() == "by hand"
    settings = {"name": "reported", "sampler": "tpe", "tracking": {"enabled": False}}
    (folder / "settings.json").write_text(json.dumps(settings))
    assert told("report", str(folder))["tracking"] is None


def test_a_store_that_refuses_is_one_line(store: Store, tmp_path: Path) -> None:
    folder = study_of(store, "refused", 1)
    broken = tmp_path / "broken.db"
    broken.write_text("this is no database, but it is long enough to be read as one " * 20)
    with pytest.raises(UserError, match="could not be mirrored there") as refused:
        sync.sync(folder, f"sqlite:///{broken}")
    assert "\n" not in str(refused.value)


def test_other_folders_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder holds ledger"):
        sync.sync(tmp_path)
    folder = study_of(store, "old", 1)
    (folder / "settings.json").unlink()
    with pytest.raises(UserError, match="must hold the study's settings"):
        sync.sync(folder)
