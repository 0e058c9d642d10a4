"""A real study in MLflow: what its run writes, and what `mergetuna sync` writes, is the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from merge_ops.errors import UserError
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from studies import cli, sync
from studies.journal import read_trials
from studies.run import run_study
from studies.setup import identities, read_study
from studies.validation import validate_study
from tests.tracked import Store

MakeStudy = Callable[..., Path]
Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def study(
    small_study: MakeStudy, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Store]:
    """Its file, its folder and the store to which it was mirrored."""
    store = Store(tmp_path_factory.mktemp("runs"))
    tracking = {"enabled": True, "uri": store.uri}
    path = small_study("reasoning", out="mirrored", trials=3, compare=False, tracking=tracking)
    checked = read_study(path)
    run_study(checked)
    return path, checked.out, store


def held(store: Store, name: str) -> Found:
    """What a store holds of a study, less the ids and what the machine did."""
    client, found = store.client(), {}
    for run_name, run in store.runs(name).items():
        files = store.folder / "mlartifacts" / run.info.run_id / "artifacts"
        inputs = client.get_run(run.info.run_id).inputs
        models = [client.get_logged_model(i.model_id) for i in inputs.model_inputs]
        found[run_name] = {
            "params": run.data.params,
            "metrics": {
                k: v for k, v in run.data.metrics.items() if k.partition("/")[0] != "system"
            },
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
            "recipe": (files / "recipe.yaml").read_text(encoding="utf-8"),
            "data": [i.to_dictionary() for i in inputs.dataset_inputs],
            "models": sorted((m.name, sorted(m.tags.items())) for m in models),
            "status": run.info.status,
        }
    return found


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A second store; its tables take seconds."""
    return Store(tmp_path_factory.mktemp("other"))


def test_every_recipe_is_the_trials_own(study: tuple[Path, Path, Store]) -> None:
    _, out, store = study
    known = read_study(study[0])
    runs = held(store, "mirrored")
    for trial in read_trials(out):
        file = out / f"of-trial-{trial.number}.yaml"  # its paths are relative to the folder
        file.write_text(runs[f"trial-{trial.number:04d}"]["recipe"], encoding="utf-8")
        recipe = read_recipe(file)
        file.unlink()
        assert recipe.digest(identities(known)) == trial.user_attrs["digest"]
        assert recipe.provenance["trial"] == trial.number


def test_the_summary_says_what_the_study_is_made_of(study: tuple[Path, Path, Store]) -> None:
    path, out, store = study
    summary = held(store, "mirrored")["summary"]
    assert summary["params"]["method"] == "task_arithmetic"
    assert summary["params"]["budget.trials"] == "3"
    assert summary["params"]["objectives"] == "reasoning, perception"
    contexts = {d["tags"]["mlflow.data.context"] for d in summary["data"]}
    assert contexts == {"selection", "confirm", "test"}
    sources = {json.loads(d["dataset"]["source"])["uri"] for d in summary["data"]}
    assert str(path.parent / "data" / "reasoning-test.parquet") in sources
    assert [name for name, _ in summary["models"]] == [
        "base",
        "expert math",
        "expert vlm",
        "target",
    ]
    run = store.runs("mirrored")["summary"]
    assert "system/cpu_utilization_percentage" in run.data.metrics
    results = json.loads((out / "results.json").read_text())
    found = results["rows"][-1]["score"]["value"]
    assert run.data.metrics["test"] == pytest.approx(found, abs=1e-6)


def test_sync_writes_to_an_empty_store_what_the_study_wrote(
    study: tuple[Path, Path, Store], other: Store
) -> None:
    _, out, store = study
    said = CliRunner().invoke(cli.app, ["sync", str(out), "--uri", other.uri, "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["without"] == ""
    assert held(other, "mirrored") == held(store, "mirrored")
    experiment = other.client().get_experiment_by_name("mirrored").experiment_id
    other.client().rename_experiment(experiment, "whole")


def test_sync_without_the_models_mirrors_the_rest_and_later_adds_what_it_lacks(
    study: tuple[Path, Path, Store], other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from merge_ops import opening
    from merge_ops.errors import UserError

    def gone(*_: object) -> None:
        raise UserError("models/math: there is no such folder")

    command = ["sync", str(study[1]), "--uri", other.uri]
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_models", gone)
        said = CliRunner().invoke(cli.app, command)
    assert said.exit_code == 0, said.output
    assert said.output.count("there is no such folder") == 1
    runs = other.runs("mirrored")
    assert len(runs) == 4
    assert runs["summary"].data.params["method"] == "task_arithmetic"
    assert not store_files(other, runs["trial-0000"])
    said = CliRunner().invoke(cli.app, command)
    assert "0 of 3 trials were missing" in said.output, "the recipes join the runs that are there"
    assert [path.name for path in store_files(other, runs["trial-0000"])] == ["recipe.yaml"]


def store_files(store: Store, run: Any) -> list[Path]:
    folder = store.folder / "mlartifacts" / run.info.run_id / "artifacts"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "foo://me:secret@bar",
            "MLflow has no store at 'foo://me:***@bar': an address begins with",
        ),
        ("sqlite://runs.db", "sqlite:///PATH, with three slashes"),
        ("http://", "names no host"),
        ("./mlruns", "keeps no runs in folders"),
    ],
)
def test_a_kind_of_store_that_does_not_exist_is_a_mistake_in_the_file(
    small_study: MakeStudy, uri: str, message: str
) -> None:
    path = small_study("reasoning", out="nowhere", tracking={"enabled": True, "uri": uri})
    line = path.read_text().splitlines().index(f"  uri: {uri}") + 1
    said = CliRunner().invoke(cli.app, ["validate", "--quick", str(path)])
    assert isinstance(said.exception, UserError)
    assert str(said.exception).startswith(f"{path}:{line}:3: tracking.uri")
    assert message in str(said.exception)
    assert "secret" not in str(said.exception)
    with pytest.raises(UserError, match="has no store"):
        sync.sync(path.parent / "mirrored", "foo://bar")


def test_a_server_that_does_not_answer_is_a_note(small_study: MakeStudy) -> None:
    tracking = {"enabled": True, "uri": "http://me:secret@127.0.0.1:9"}
    path = small_study("reasoning", out="silent", tracking=tracking)
    found = validate_study(read_study(path), quick=True)
    assert found.ok
    (note,) = [text for text in found.warnings if text.startswith("tracking: ")]
    assert "http://127.0.0.1:9 does not answer (ConnectionRefusedError" in note
    assert "secret" not in note
    path = small_study("reasoning", out="silent", tracking={**tracking, "enabled": False})
    assert not any("tracking" in w for w in validate_study(read_study(path), quick=True).warnings)


def test_a_registered_export_loads_from_the_registry_as_the_live_model(
    study: tuple[Path, Path, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from mlflow.artifacts import download_artifacts
    from mlflow.transformers import load_model
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    _, out, store = study
    command = ["export", str(out), "--out", str(tmp_path / "out"), "--register", "tiny.vlm"]
    said = CliRunner().invoke(cli.app, [*command, "--json"])
    assert said.exit_code == 0, said.output
    version = json.loads(said.stdout)["registered_as"]
    assert version == "models:/tiny.vlm/1"
    found = store.client().get_model_version("tiny.vlm", "1")
    summary = store.runs("mirrored")["summary"]
    assert found.run_id == summary.info.run_id
    assert summary.info.status == "FINISHED"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(tmp_path)
    loaded = load_model(version, return_type="components")
    recipe = read_recipe(out / "recipe.yaml")
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    ids = torch.tensor([[5, 17, 40, 9, 77]])
    with torch.no_grad():
        live = resident.module(input_ids=ids).logits
        assert torch.equal(loaded["model"].eval()(input_ids=ids).logits, live)
        folder = f"{download_artifacts(version)}/model"
        plain: Any = AutoModelForMultimodalLM
        assert torch.equal(plain.from_pretrained(folder).eval()(input_ids=ids).logits, live)
    processors: Any = AutoProcessor
    assert type(loaded["processor"]) is type(processors.from_pretrained(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "MLflow wrote a store here"


@pytest.mark.parametrize(
    ("name", "message"), [("a/b", "a name without '/' and ':'"), ("", "a name without")]
)
def test_a_name_that_mlflow_does_not_take_is_refused_before_any_work(
    study: tuple[Path, Path, Store], tmp_path: Path, name: str, message: str
) -> None:
    command = ["export", str(study[1]), "--out", str(tmp_path / "out"), "--register", name]
    said = CliRunner().invoke(cli.app, command)
    assert message in str(said.exception)
    assert not (tmp_path / "out").exists()
