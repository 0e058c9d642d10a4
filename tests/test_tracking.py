"""The tracker: the store says what the ledger says, whatever happened before."""

from pathlib import Path

import pytest

from search.dimension import Dimension
from studies.ledger import SEARCH, Ledger, Outcome
from studies.tracking import Mirror
from studies.tracking_address import tracking_uri
from studies.tracking_store import ended, ledger_tag
from studies.tracking_summary import Summary
from tests.tracked import NAMES, SUMMARY, InThread, Store, ledger_of, mirrored


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Store(tmp_path_factory.mktemp("runs"))


def test_the_address_comes_from_the_study_then_the_environment_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:1")
    assert tracking_uri("http://study:1", tmp_path) == "http://study:1"
    assert tracking_uri(None, tmp_path) == "http://environment:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


def test_runs_equal_the_ledger(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = ledger_of(store.folder / "equal", 4, failed=(2,))
    status = mirrored(ledger, store.uri, "equal")
    assert status.complete, status
    assert (status.mirrored, status.finished, status.errors) == (4, 4, 0)

    runs = store.runs("equal")
    assert sorted(runs) == [f"trial-{n:04d}" for n in range(4)]
    for trial in ledger.trials:
        run = runs[f"trial-{trial.number:04d}"]
        point = {"weight.math.0": trial.params[NAMES[0]]}
        point["weight.odd _name_"] = trial.params[NAMES[1]]
        assert {k: float(v) for k, v in run.data.params.items()} == point
        metrics = {f"spent.seconds.{k}": v for k, v in trial.user_attrs["seconds"].items()}
        if trial.value is not None:
            own = trial.user_attrs["figures"]
            metrics |= {"score": trial.value, "score.vqa": own["vqa"]}
            metrics |= {f"slice.vqa.kind {i}": own[f"vqa/kind {i}"] for i in range(2)}
        metrics["spent.items"] = 0.0 if trial.value is None else 2.0
        assert run.data.metrics == metrics
        assert run.info.status == ("FAILED" if trial.number == 2 else "FINISHED")
        assert run.info.end_time == int(ended(trial).timestamp() * 1000)
        taken = run.info.end_time - run.info.start_time
        assert taken - (250 if taken < 1000 else 2000) in range(100)  # with what telling took
        tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
        expected = {
            "kind": "trial",
            "trial": str(trial.number),
            "state": "FAIL" if trial.number == 2 else "COMPLETE",
            "source": "warm start",
            "digest": f"digest-{trial.number}",
            "sampler": "tpe",
            "ledger": ledger_tag(ledger.trials),
            "without": "recipe.yaml",  # nobody said how it is made
        }
        if trial.number == 2:
            expected["reason"] = "the merged model's scores are not finite"
        assert tags == expected
    assert runs["trial-0001"].data.metrics["slice.vqa.kind 1"] == 0.26
    assert not list(tmp_path.iterdir()), "something was written outside the runs folder"


def test_a_restart_adds_only_what_is_new(store: Store) -> None:
    folder = store.folder / "restart"
    mirrored(ledger_of(folder, 2), store.uri, "restart")
    first = {name: run.info.run_id for name, run in store.runs("restart").items()}
    assert mirrored(ledger_of(folder, 2), store.uri, "restart").complete
    assert {name: run.info.run_id for name, run in store.runs("restart").items()} == first
    assert mirrored(ledger_of(folder, 3), store.uri, "restart").mirrored == 3
    second = {name: run.info.run_id for name, run in store.runs("restart").items()}
    assert first.items() < second.items()
    assert len(second) == 3


def test_a_run_cut_short_is_completed_and_its_double_dropped(store: Store) -> None:
    ledger = ledger_of(store.folder / "cut", 2)
    mirrored(ledger, store.uri, "cut")
    client, whole = store.client(), store.runs("cut")["trial-0001"]
    client.delete_run(whole.info.run_id)
    tags = whole.data.tags
    halves = [
        client.create_run(whole.info.experiment_id, tags=tags, run_name="trial-0001").info.run_id
        for _ in range(2)
    ]
    client.log_param(halves[0], "weight.math.0", whole.data.params["weight.math.0"])

    assert mirrored(ledger, store.uri, "cut").complete
    again = store.runs("cut")
    assert sorted(again) == ["trial-0000", "trial-0001"]
    assert again["trial-0001"].info.run_id in halves
    assert again["trial-0001"].info.status == "FINISHED"
    assert again["trial-0001"].data.params == whole.data.params
    assert again["trial-0001"].data.metrics == whole.data.metrics


def test_the_summary_is_one_run_with_its_files(store: Store, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("report")
    picture = tmp_path / "history.png"
    picture.write_bytes(b"picture")
    ledger = ledger_of(store.folder / "summary", 1)
    mirrored(ledger, store.uri, "summary", SUMMARY)
    later = Summary(
        "method: ties\n", "table", {"test.vqa": 0.75}, [picture, tmp_path / "none.png"], page
    )
    assert mirrored(ledger, store.uri, "summary", later).complete
    runs = store.runs("summary")
    assert sorted(runs) == ["summary", "trial-0000"]
    run = runs["summary"]
    assert run.data.metrics == {"test.vqa": 0.75}
    files = store.folder / "mlartifacts" / run.info.run_id / "artifacts"
    assert (files / "recipe.yaml").read_text() == "method: ties\n"
    assert (files / "results.md").read_text() == "table"
    assert (files / "report.html").read_text() == "report"
    assert [path.name for path in (files / "figures").iterdir()] == ["history.png"]


def test_two_studies_at_once_do_not_mix(store: Store) -> None:
    ledgers = {name: ledger_of(store.folder / name, 3) for name in ("one", "two")}

    def mirror_of(name: str) -> Mirror:
        return Mirror(store.uri, name, lambda: ledgers[name].trials, {}, host=InThread())

    mirrors = [mirror_of(name) for name in ledgers]
    for mirror in mirrors:
        mirror.start()
    assert all(mirror.finish(120.0).complete for mirror in mirrors)
    for name, ledger in ledgers.items():
        runs = store.runs(name)
        assert sorted(runs) == [f"trial-{n:04d}" for n in range(3)]
        assert {run.data.tags["ledger"] for run in runs.values()} == {ledger_tag(ledger.trials)}


def test_a_new_ledger_under_an_old_name_is_mirrored_whole(store: Store) -> None:
    mirrored(ledger_of(store.folder / "old", 2), store.uri, "name")
    status = mirrored(ledger_of(store.folder / "new", 2), store.uri, "name")
    assert status.complete, status
    client = store.client()
    experiment = client.get_experiment_by_name("name").experiment_id
    assert len(client.search_runs([experiment])) == 4


def test_many_parameters_are_sent_in_parts(store: Store, tmp_path: Path) -> None:
    names = [f"weight.math.{i}" for i in range(230)]
    ledger = Ledger(tmp_path, SEARCH, [Dimension(name, 0.0, 1.0, 0.0) for name in names])
    ledger.tell(Outcome(dict.fromkeys(names, 0.5), "d", "warm start", (), None, "reason", {}))
    assert mirrored(ledger, store.uri, "many").complete
    assert len(store.runs("many")["trial-0000"].data.params) == 230


def test_a_ledger_without_trials_is_complete(store: Store, tmp_path: Path) -> None:
    assert mirrored(ledger_of(tmp_path, 0), store.uri, "none").complete
