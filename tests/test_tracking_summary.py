"""What MLflow holds of a study beside figures: recipes, inputs, params, the machine."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from search.dimension import Dimension
from studies.ledger import SEARCH, Ledger, Outcome
from studies.metric_names import sortable, trial_metrics
from studies.particulars import DataSet, InputModel, Particulars
from studies.system_metrics import SystemSampler
from studies.tracking import Mirror
from studies.tracking_summary import Summary
from studies.tracking_sync import Experiment
from tests.tracked import SUMMARY, InThread, Store, ledger_of, outcome

MODELS = (
    InputModel("target", "/models/vlm", "a" * 64),
    InputModel("expert math", "owner/math@main", "b" * 64),
)
DATA = tuple(
    DataSet("vqa", split, "/data/vqa.parquet", digit * 64, 24)
    for split, digit in (("selection", "1"), ("confirm", "2"), ("test", "3"))
)


def recipe_of(trial: FrozenTrial) -> str:
    return f"trial: {trial.number}\n"


TOLD = Particulars({"method": "ties", "budget.trials": "40"}, DATA, MODELS, recipe_of)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Store(tmp_path_factory.mktemp("runs"))


def told_mirror(ledger: Ledger, uri: str, name: str, told: Particulars, **own: bool) -> Mirror:
    mirror = Mirror(uri, name, lambda: ledger.trials, {}, host=InThread(), **own)
    mirror.describe(told)
    mirror.start()
    return mirror


def file_of(store: Store, run: Any, name: str) -> str:
    path: Path = store.folder / "mlartifacts" / run.info.run_id / "artifacts" / name
    return path.read_text(encoding="utf-8")


def inputs_of(store: Store, run: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Digests by context, and the tags of models by name."""
    client = store.client()
    inputs = client.get_run(run.info.run_id).inputs
    data = {i.tags[0].value: i.dataset.digest for i in inputs.dataset_inputs}
    models = [client.get_logged_model(one.model_id) for one in inputs.model_inputs]
    return data, {model.name: dict(model.tags) for model in models}


def test_every_trial_has_its_recipe_and_the_summary_what_the_study_is_made_of(
    store: Store,
) -> None:
    ledger = ledger_of(store.folder / "told", 3, failed=(1,))
    status = told_mirror(ledger, store.uri, "told", TOLD).finish(120.0, SUMMARY)
    assert (status.complete, status.refused) == (True, "")
    runs = store.runs("told")
    for number in range(3):
        assert file_of(store, runs[f"trial-{number:04d}"], "recipe.yaml") == f"trial: {number}\n"
    run = runs["summary"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"method": "ties", "budget.trials": "40"}
    data, models = inputs_of(store, run)
    assert data == {"selection": "1" * 36, "confirm": "2" * 36, "test": "3" * 36}
    assert {name: tags["sha256"][0] for name, tags in models.items()} == {
        "target": "a",
        "expert math": "b",
    }
    assert models["expert math"]["source"] == "owner/math@main"


def test_the_summary_runs_from_the_first_trial_and_is_killed_with_the_study(store: Store) -> None:
    folder = store.folder / "stopped"
    ledger = ledger_of(folder, 1)
    begun = int(time.time() * 1000)
    mirror = told_mirror(ledger, store.uri, "stopped", TOLD)
    deadline = time.monotonic() + 60.0
    while not mirror.status().complete and time.monotonic() < deadline:
        time.sleep(0.05)
    run = store.runs("stopped")["summary"]
    assert run.info.status == "RUNNING"
    assert run.info.start_time <= begun, "it began with the study, not with its end"
    mirror.finish(60.0)
    assert store.runs("stopped")["summary"].info.status == "KILLED"
    again = Particulars({"method": "ties", "budget.trials": "60"}, DATA, MODELS, recipe_of)
    assert told_mirror(ledger, store.uri, "stopped", again).finish(60.0, SUMMARY).complete
    last = store.runs("stopped")["summary"]
    assert (last.info.status, last.info.run_id) == ("FINISHED", run.info.run_id)
    assert last.data.params["budget.trials"] == "40", "MLflow lets no param change"
    assert last.data.tags["budget.trials"] == "60"
    assert len(store.client().search_logged_models([run.info.experiment_id])) == 2


def test_the_end_of_a_study_is_not_moved_by_what_comes_later(store: Store, tmp_path: Path) -> None:
    ledger = ledger_of(store.folder / "end", 1)
    told_mirror(ledger, store.uri, "end", TOLD).finish(60.0, SUMMARY)
    first = store.runs("end")["summary"]
    time.sleep(0.01)
    ledger_tag = first.data.tags["ledger"]
    page = tmp_path / "report.html"
    page.write_text("page")
    ended = Summary("method: ties\n", "", {"test.vqa": 0.5}, ended=first.info.end_time - 1000)
    for _ in range(2):
        again = Experiment(store.uri, "end", ledger_tag, {})
        again.write_summary(ended, 0)
        assert again.write_report(page, ())
    last = store.runs("end")["summary"]
    assert (last.info.start_time, last.info.end_time) == (
        first.info.start_time,
        first.info.end_time,
    )
    assert len(store.client().get_metric_history(last.info.run_id, "test.vqa")) == 1
    assert file_of(store, last, "recipe.yaml") == "method: ties\n"


def test_a_study_mirrored_afterwards_ended_when_it_ended(store: Store) -> None:
    ledger = ledger_of(store.folder / "late", 1)
    ended = int(time.time() * 1000) - 3_600_000
    late = Experiment(store.uri, "late", "late", {}, TOLD)
    late.write(ledger.trials[0])
    late.write_summary(Summary("", "", {}, ended=ended), ended - 5000)
    run = store.runs("late")["summary"]
    assert (run.info.start_time, run.info.end_time) == (ended - 5000, ended)
    assert run.data.params["method"] == "ties"


def test_a_store_without_room_for_files_still_gets_the_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no credentials for the bucket")

    ledger = ledger_of(store.folder / "refused", 5)
    with monkeypatch.context() as patch:
        patch.setattr("studies.tracking_runs.Runs.keep_text", refuse)
        status = told_mirror(ledger, store.uri, "refused", TOLD).finish(60.0)
    assert (status.complete, status.mirrored, status.errors) == (True, 5, 0)
    assert "without some recipes or inputs (OSError: no credentials" in str(status)
    runs = store.runs("refused")
    assert all(runs[f"trial-{n:04d}"].data.tags["without"] == "recipe.yaml" for n in range(5))
    assert told_mirror(ledger, store.uri, "refused", TOLD).finish(60.0).refused == ""
    again = store.runs("refused")
    for number in range(5):
        run = again[f"trial-{number:04d}"]
        assert run.info.run_id == runs[f"trial-{number:04d}"].info.run_id
        assert file_of(store, run, "recipe.yaml") == f"trial: {number}\n"
        assert "without" not in run.data.tags


def test_a_server_that_knows_no_models_of_an_experiment_gets_them_among_the_data(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

    def unknown(*_: object, **__: object) -> None:
        raise MlflowException("404", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(MlflowClient, "search_logged_models", unknown)
    ledger = ledger_of(store.folder / "older", 1)
    status = told_mirror(ledger, store.uri, "older", TOLD).finish(60.0)
    assert status.refused == ""
    inputs = store.runs("older")["summary"].inputs.dataset_inputs
    contexts = [(one.dataset.name, one.tags[0].value) for one in inputs]
    assert ("target", "model") in contexts
    assert ("vqa", "test") in contexts


def test_the_machine_is_sampled_into_the_summary(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    ledger = ledger_of(store.folder / "busy", 1)
    mirror = told_mirror(ledger, store.uri, "busy", Particulars(), system=True)
    deadline = time.monotonic() + 60.0
    while not mirror.status().complete and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert mirror.finish(60.0, SUMMARY).complete
    run = store.runs("busy")["summary"]
    history = store.client().get_metric_history(
        run.info.run_id, "system/cpu_utilization_percentage"
    )
    assert len(history) >= 4
    assert len({point.timestamp for point in history}) == len(history)
    assert {"system/system_memory_usage_megabytes", "system/disk_usage_percentage"} <= set(
        run.data.metrics
    )
    assert run.data.metrics["test.vqa"] == 0.5
    before = len(history)
    time.sleep(0.2)
    later = store.client().get_metric_history(run.info.run_id, history[0].key)
    assert len(later) == before, "it is sampled although the study is over"


def test_samples_wait_for_a_store_without_growing_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("studies.system_metrics._MOST", 8)
    sampler = SystemSampler(60.0)
    for stamp in range(100):
        sampler.put_back([*sampler.take(), (stamp, {"system/x": 1.0})])
    kept = [stamp for stamp, _ in sampler.take()]
    assert len(kept) <= 8
    assert (kept[0], kept[-1] >= 96) == (0, True), "the whole time is kept"
    assert sampler.take() == []


def test_a_dead_store_leaves_one_idle_thread_that_ends_with_the_study(tmp_path: Path) -> None:
    from tests.test_tracking_outages import refusing

    ledger = ledger_of(tmp_path, 2)
    with refusing() as uri:
        mirror = told_mirror(ledger, uri, "dead", TOLD, system=True)
        begun = time.perf_counter()
        status = mirror.finish(3.0, SUMMARY)
        assert time.perf_counter() - begun < 6.0
    assert (status.complete, status.mirrored) == (False, 0)
    deadline = time.monotonic() + 10.0
    while any(t.name == "system metrics" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_items_and_memory_come_from_the_ledger_where_it_has_them(tmp_path: Path) -> None:
    trial = ledger_of(tmp_path, 1).trials[0]
    assert trial_metrics(trial)["spent.items"] == 2.0, "counted from the scores"
    trial.user_attrs["items"] = 24
    trial.user_attrs["memory"] = {"host": 1_500_000, "device": 2_000_000}
    found = trial_metrics(trial)
    assert found["spent.items"] == 24.0
    assert found["spent.memory.host_mb"] == 1.5
    assert found["spent.memory.device_mb"] == 2.0
    trial.user_attrs["memory"] = {"host": 1_500_000}
    assert "spent.memory.device_mb" not in trial_metrics(trial)
    names = sorted(found)
    assert names[0] == "score", "what matters stands first"


def test_numbers_in_names_sort(store: Store, tmp_path: Path) -> None:
    names = [f"weight.math.{i}" for i in range(16)] + ["method.2.mlp", "method.12.mlp", "density"]
    assert list(sortable(dict.fromkeys(names, 0)))[:12:10] == ["weight.math.00", "weight.math.10"]
    assert {"method.02.mlp", "method.12.mlp", "density"} <= set(sortable(dict.fromkeys(names, 0)))
    few = {f"weight.math.{i}": i for i in range(10)}
    assert sortable(few) == few, "nothing is padded where nothing need be"
    odd = {"weight.7.0": 1, "weight.07.0": 2}
    assert sorted(sortable(odd).values()) == [1, 2], "two names must not become one"
    bands = [f"weight.math.{i}" for i in range(16)]
    ledger = Ledger(tmp_path, SEARCH, [Dimension(name, 0.0, 1.0, 0.0) for name in bands])
    point = {name: i / 16 for i, name in enumerate(bands)}
    ledger.tell(Outcome(point, "d", "warm start", (), None, "reason", {}))
    told_mirror(ledger, store.uri, "bands", Particulars()).finish(60.0)
    params = store.runs("bands")["trial-0000"].data.params
    values = [float(params[key]) for key in sorted(params)]
    assert values == list(point.values())
    assert json.loads(json.dumps(ledger.trials[0].params)) == point, "the ledger keeps its names"


def test_an_outage_of_the_summary_is_made_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    true, calls = MlflowClient.log_inputs, []

    def fails_once(*args: Any, **named: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise ConnectionError("gone")
        true(*args, **named)

    monkeypatch.setattr(MlflowClient, "log_inputs", fails_once)
    folder = store.folder / "blip"
    ledger = ledger_of(folder, 1)
    assert told_mirror(ledger, store.uri, "blip", TOLD).finish(60.0).refused
    ledger.tell(outcome(1))
    assert told_mirror(ledger, store.uri, "blip", TOLD).finish(60.0, SUMMARY).complete
    data, models = inputs_of(store, store.runs("blip")["summary"])
    assert len(data) == 3
    assert len(models) == 2
