"""A study of EMR over the embedded skill experts: each objective is scored on its own view."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from merge_ops.errors import UserError
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.view_files import MASKS_FILE
from merge_ops.view_recipes import view_of
from merge_ops.views import apply_view
from studies import cli
from studies.export import build_checkpoint
from studies.ledger import GLOBAL, read_trials
from studies.paths import DEPTH, HISTORY, RECIPE, TABLE, TEST_READS
from studies.results import show_results
from studies.run import run_study
from studies.scoring import figures_of, score_once
from studies.setup import read_study
from studies.table import verdicts

MakeStudy = Callable[..., Path]
OWN = {"places": "places", "compare": "compare", "arithmetic": "sums"}
UNIFIED_ROW = "emr unified, no views"


@pytest.fixture(scope="module")
def skills(small_study: MakeStudy) -> tuple[dict[str, Any], Path, Path]:
    """Results, the study's folder, its file."""
    path = small_study("skills", out="s1", trials=50, warm_start=["linear_grid"])
    study = read_study(path)
    return run_study(study), study.out, path


def shares(result: dict[str, Any]) -> dict[str, float]:
    return {name: own["value"] for name, own in result["objectives"].items()}


def test_every_objective_is_scored_on_its_own_view(
    skills: tuple[dict[str, Any], Path, Path],
) -> None:
    results, out, path = skills
    rows = {row["name"]: row for row in results["rows"]}
    found = shares(rows["found recipe"])
    recipe = read_recipe(out / RECIPE)
    models = path.parent / "models"
    tasks = {task: str(models / f"skill_{task}") for task in OWN.values()}
    assert dict(recipe.tasks) == tasks
    for objective, task in OWN.items():
        one = score_once(str(out / RECIPE), read_study(path), "test", task=task)
        assert shares(one)[objective] == found[objective]
        assert set(one["tasks"].values()) == {task}
    for rival in (UNIFIED_ROW, "plain average", "task arithmetic (1, 1, 1)"):
        assert rows["found recipe"]["score"]["value"] > rows[rival]["score"]["value"] + 0.1
    assert len({round(v, 6) for v in shares(rows[UNIFIED_ROW]).values()}) > 1
    assert results["tasks"] == OWN
    assert recipe.provenance["objective"]["arithmetic"]["task"] == "sums"
    assert any("arithmetic by 'sums'" in sentence for sentence in verdicts(results))


def test_a_study_without_a_knob_scores_its_one_candidate_once(
    skills: tuple[dict[str, Any], Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    results, out, path = skills
    (trial,) = read_trials(out)
    assert (trial.params, trial.user_attrs["source"]) == ({}, "only candidate")
    assert set(json.loads(trial.user_attrs["scores"])) == set(OWN)
    assert (results["trials"], results["sampler"]) == (1, "only candidate")
    assert results["winner"]["digest"] == trial.user_attrs["digest"]
    with pytest.raises(UserError, match="there is no search 'global'"):
        read_trials(out, GLOBAL)
    names = [row["name"] for row in results["rows"]]
    assert "best global coefficients" not in names
    looks = [json.loads(line)["why"] for line in (out / TEST_READS).read_text().splitlines()]
    assert looks[: len(names)] == names  # one look for a candidate of three views
    assert (out / HISTORY).is_file()
    assert not (out / DEPTH).exists()
    assert (out / TABLE).read_text().count("\n") == 2 + len(names)
    capfd.readouterr()
    show_results(results, out)
    printed = capfd.readouterr().out
    assert str(out / HISTORY) in printed
    assert str(out / DEPTH) not in printed
    assert run_study(read_study(path)) == results
    listed = CliRunner().invoke(cli.app, ["trials", str(out), "--json"]).stdout
    assert [t["params"] for t in json.loads(listed)] == [{}]


def test_it_says_that_there_is_one_candidate(
    small_study: MakeStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_study("reasoning", out="k1", trials=9, method="karcher", search={})
    results = run_study(read_study(path))
    assert "karcher has no knob to search: one candidate, one trial." in capfd.readouterr().err
    assert (results["trials"], results["failed_trials"]) == (1, 0)


def test_a_stopped_study_of_one_candidate_goes_on(
    skills: tuple[dict[str, Any], Path, Path],
    small_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = small_study("skills", out="s2", trials=50)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("studies.run.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run_study(read_study(path))
    (before,) = read_trials(path.parent / "s2")
    results = run_study(read_study(path))
    (after,) = read_trials(path.parent / "s2")
    assert before.value == after.value == skills[0]["winner"]["selection"]
    assert [r["score"] for r in results["rows"]] == [r["score"] for r in skills[0]["rows"]]


def test_eval_gives_what_the_study_reported_or_one_view(
    skills: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    results, out, path = skills
    recipe = str(out / RECIPE)
    again = score_once(recipe, read_study(path), "test")
    assert again["objectives"] == results["rows"][-1]["objectives"]
    assert again["against_found"] == {"n": 72, "flipped": 0}
    assert again["tasks"] == OWN
    assert "by the view 'sums'" in "\n".join(figures_of(again))
    rows = {row["name"]: row for row in results["rows"]}
    shared = score_once(recipe, read_study(path), "test", task="unified")
    assert shared["objectives"] == rows[UNIFIED_ROW]["objectives"]
    build_checkpoint(out / RECIPE, tmp_path / "whole")
    assert (
        score_once(str(tmp_path / "whole"), read_study(path), "test")["objectives"]
        == shared["objectives"]
    )
    build_checkpoint(out / RECIPE, tmp_path / "sums", task="sums")
    one = score_once(str(tmp_path / "sums"), read_study(path), "test")
    assert one["objectives"]["arithmetic"] == again["objectives"]["arithmetic"]
    with pytest.raises(UserError, match="there is no task 'sum', did you mean 'sums'"):
        score_once(recipe, read_study(path), "test", task="sum")
    with pytest.raises(UserError, match=r"of linear, names none; methods that give views: emr"):
        score_once(str(tmp_path / "sums"), read_study(path), "test", task="sums")


def test_a_study_of_one_model_scores_a_recipe_with_views_by_one_of_them(
    skills: tuple[dict[str, Any], Path, Path], small_study: MakeStudy
) -> None:
    other = small_study("reasoning", out="o1")
    recipe = str(skills[1] / RECIPE)
    with pytest.raises(UserError, match="reasoning: the recipe has one view per task") as caught:
        score_once(recipe, read_study(other), "confirm")
    assert "score one view by --task" in str(caught.value)
    assert (
        score_once(recipe, read_study(other), "confirm", task="sums")["tasks"]["reasoning"]
        == "sums"
    )


@pytest.mark.parametrize("task", OWN.values())
def test_the_exported_files_and_the_base_give_every_view_back(
    skills: tuple[dict[str, Any], Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
    task: str,
) -> None:
    _, out, path = skills
    folder = tmp_path_factory.getbasetemp() / "skills-export"
    if not folder.exists():
        build_checkpoint(out / RECIPE, folder)
    recipe = view_of(read_recipe(out / RECIPE), task)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    wanted = dict(resident.module.named_parameters())
    rebuilt = apply_view(folder, task, str(path.parent / "models" / "vlm"))
    for name, parameter in rebuilt.named_parameters():
        assert torch.equal(parameter, wanted[name]), name
    sizes = [(folder / name).stat().st_size for name in (MASKS_FILE, "model.safetensors")]
    assert sizes[0] < sizes[1] * 3 / 16  # three bits an entry of 32, and names


def test_a_text_base_and_the_target_as_an_expert_give_views_too(
    demo_folder: Path, tmp_path: Path
) -> None:
    models = {name: str(demo_folder / "models" / name) for name in ("vlm", "base", "math")}
    text = (
        f"merge_method: emr\nbase_model: {models['base']}\n"
        f"models: [{{model: {models['vlm']}}}, {{model: {models['math']}}}]\ndtype: float32\n"
        f"mergetuna:\n  version: 1\n  target: {models['vlm']}\n"
        "  exclude: [embed_tokens, lm_head]\n"
        f"  tasks: {{seeing: {models['vlm']}, sums: {models['math']}}}\n"
    )
    (tmp_path / "r.yaml").write_text(text)
    build_checkpoint(tmp_path / "r.yaml", tmp_path / "out")
    recipe = read_recipe(tmp_path / "r.yaml")
    write_recipe(view_of(recipe, "sums"), tmp_path / "sums.yaml")
    resident = load_resident(recipe, Runtime())
    resident.become(read_recipe(tmp_path / "sums.yaml"))
    wanted = dict(resident.module.named_parameters())
    rebuilt = apply_view(tmp_path / "out", "sums", models["base"])
    for name, parameter in rebuilt.named_parameters():
        torch.testing.assert_close(parameter, wanted[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("    task: sums\n", ""), "objectives.2: emr gives one view per expert: say by `task`"),
        (("    task: sums\n", ""), "one of 'places', 'compare', 'sums', 'unified'"),
        (("task: sums", "task: sum"), "objectives.2.task: must be an expert's name or 'unified'"),
        (("task: sums", "task: sum"), "did you mean 'sums'?"),
        (("method: emr", "method: karcher"), "objectives.0.task: karcher gives one model for all"),
        (("name: sums", "name: unified"), "experts.2.name: 'unified' names what all views share"),
        (("skill_sums", "skill_places"), "experts: emr gives one view per expert, so each must"),
        (("seed: 0", "parameters: {expert: 1}"), "parameters.expert: each objective picks its"),
        (("seed: 0", "search: {bands: 6}"), "search: emr has no knob to search; leave this key"),
        (("method: emr", "method: ties"), "search: `knobs` must give at least one of"),
    ],
)
def test_a_mistake_about_tasks_in_a_study_is_named_with_its_place(
    demo_folder: Path, change: tuple[str, str], expected: str
) -> None:
    path = demo_folder / "skills-broken.yaml"
    content = (demo_folder / "skills.yaml").read_text()
    assert change[0] in content
    path.write_text(content.replace(*change))
    with pytest.raises(UserError) as caught:
        read_study(path)
    assert expected in str(caught.value)
    assert all(line.startswith(f"{path}:") for line in str(caught.value).splitlines())


def test_objectives_may_share_a_view_or_ask_for_the_unified_model(small_study: MakeStudy) -> None:
    path = small_study("skills", out="s3")
    text = path.read_text().replace("limit: 24", "limit: 12")
    text = text.replace("task: compare", "task: unified")
    path.write_text(text.replace("task: sums", "task: places"))
    study = read_study(path)
    results = run_study(study)
    rows = {row["name"]: row for row in results["rows"]}
    one = score_once(str(study.out / RECIPE), read_study(path), "test", task="places")
    found = shares(rows["found recipe"])
    assert found["arithmetic"] == shares(one)["arithmetic"]
    assert found["compare"] == shares(rows[UNIFIED_ROW])["compare"]


def test_names_of_experts_may_be_unusual(small_study: MakeStudy, tmp_path: Path) -> None:
    path = small_study("skills", out="s4")
    text = path.read_text().replace("limit: 24", "limit: 8")
    for odd, name in (("'v1.5: größer / #[/2]'", "compare"), ("'ort, wo?'", "places")):
        text = text.replace(f"task: {name}", f"task: {odd}")
        text = text.replace(f"skill_{name}, name: {name}", f"skill_{name}, name: {odd}")
    path.write_text(text)
    study = read_study(path)
    results = run_study(study)
    names = ["ort, wo?", "v1.5: größer / #[/2]", "sums"]
    assert list(results["tasks"].values()) == names
    assert list(read_recipe(study.out / RECIPE).tasks) == names
    show_results(results, study.out)
    command = ["merge", str(study.out / RECIPE), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.app, command)
    assert f"the views of {', '.join(names)}" in done.stdout
    one = [*command[:3], str(tmp_path / "one"), "--task", "ort, wo?"]
    assert CliRunner().invoke(cli.app, one).exit_code == 0
    assert not (tmp_path / "one" / MASKS_FILE).exists()
