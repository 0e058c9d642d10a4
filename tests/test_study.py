"""Whole studies on the embedded models: repeatable, resumable, and true to what they report."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from merge_ops.errors import UserError
from merge_ops.recipe_yaml import read_recipe
from studies.export import build_checkpoint
from studies.ledger import Ledger, read_trials
from studies.paths import RECIPE, RESULTS, TEST_READS
from studies.run import run_study
from studies.scoring import figures_of, score_once
from studies.setup import read_study
from studies.trial_facts import COPY_OF

MakeStudy = Callable[..., Path]
OTHERS = ("linear", "ties", "dare_linear")


def run(path: Path) -> tuple[dict[str, Any], Path]:
    study = read_study(path)
    return run_study(study), study.out


@pytest.fixture(scope="module")
def reasoning(small_study: MakeStudy) -> tuple[dict[str, Any], Path, Path]:
    path = small_study("reasoning", out="r1", trials=14)
    return *run(path), path


@pytest.fixture(scope="module")
def preference(small_study: MakeStudy) -> tuple[dict[str, Any], Path, Path]:
    path = small_study("preference", out="p1", trials=14)
    return *run(path), path


def test_the_table_has_every_row_with_intervals(
    reasoning: tuple[dict[str, Any], Path, Path],
) -> None:
    rows = {row["name"]: row for row in reasoning[0]["rows"]}
    assert list(rows) == [
        "vlm alone",
        "vlm alone, answers constrained",
        "math alone, no image",
        "math layers in vlm",
        "plain average",
        "task arithmetic (1, 1)",
        "best single coefficient",
        "best global coefficients",
        "found recipe",
    ]
    for name, row in rows.items():
        assert row["score"]["low"] <= row["score"]["value"] <= row["score"]["high"]
        assert ("found_minus_this" in row) == (name != "found recipe")
        assert {o["n"] for o in row["objectives"].values()} == {24}
    combined = rows["vlm alone"]["objectives"]
    mean = (combined["reasoning"]["value"] + combined["perception"]["value"]) / 2
    assert rows["vlm alone"]["score"]["value"] == pytest.approx(mean)


def test_the_judge_stands_beside_a_reward_model(
    preference: tuple[dict[str, Any], Path, Path],
) -> None:
    rows = {row["name"]: row for row in preference[0]["rows"]}
    assert "vlm alone, log-probability judge" in rows
    assert "reward alone, no image" in rows
    (found,) = rows["found recipe"]["objectives"].values()
    assert set(found["categories"]) == {"general", "hallucination", "reasoning"}
    assert found["macro"] == pytest.approx(sum(found["categories"].values()) / 3)


def test_every_look_at_the_test_split_is_logged(
    reasoning: tuple[dict[str, Any], Path, Path],
) -> None:
    results, out, _ = reasoning
    log = [json.loads(line) for line in (out / TEST_READS).read_text().splitlines()]
    names = [row["name"] for row in results["rows"]]
    assert [line["why"] for line in log][: len(names)] == names
    assert results["test_reads"] == len(names)
    assert log[len(names) - 1]["recipe"] == results["winner"]["digest"]


def test_a_study_that_has_ended_is_read_and_not_scored_again(
    reasoning: tuple[dict[str, Any], Path, Path],
) -> None:
    results, out, path = reasoning
    looks = (out / TEST_READS).read_text()
    assert run(path)[0] == results
    assert (out / TEST_READS).read_text() == looks


def test_the_same_seed_gives_the_same_trials_recipe_and_tensors(
    reasoning: tuple[dict[str, Any], Path, Path], small_study: MakeStudy, tmp_path: Path
) -> None:
    results, out, _ = reasoning
    again, other = run(small_study("reasoning", out="r2", trials=14))
    for first, second in zip(read_trials(out), read_trials(other), strict=True):
        assert (first.params, first.value) == (second.params, second.value)
        assert first.user_attrs["scores"] == second.user_attrs["scores"]
    assert results["winner"] == again["winner"]
    folders = []
    for i, folder in enumerate((out, other)):
        folders.append(tmp_path / str(i))
        build_checkpoint(folder / RECIPE, folders[-1])
    first_file, second_file = [f / "model.safetensors" for f in folders]
    assert first_file.read_bytes() == second_file.read_bytes()


def test_another_seed_gives_other_trials(
    preference: tuple[dict[str, Any], Path, Path], small_study: MakeStudy
) -> None:
    _, other = run(small_study("preference", out="p3", trials=14, seed=1, compare=False))
    ours, theirs = ([t.params for t in read_trials(f)] for f in (preference[1], other))
    assert ours[:11] == theirs[:11]  # the published grid
    assert ours[11:] != theirs[11:]


@pytest.mark.parametrize("kind", ["reasoning", "preference"])
def test_eval_gives_exactly_what_the_study_reported(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    results, out, path = request.getfixturevalue(kind)
    reported = results["rows"][-1]
    again = score_once(str(out / RECIPE), read_study(path), "test")
    assert again["value"] == reported["score"]["value"]
    n = sum(o["n"] for o in reported["objectives"].values())
    assert again["against_found"] == {"n": n, "flipped": 0}
    assert again["objectives"] == reported["objectives"]
    folder = tmp_path / "checkpoint"
    build_checkpoint(out / RECIPE, folder)
    exported = score_once(str(folder), read_study(path), "test")
    assert exported["objectives"] == reported["objectives"]
    assert exported["against_found"] == {"n": n, "flipped": 0}
    parent = score_once(str(path.parent / "models" / "vlm"), read_study(path), "test")
    assert parent["objectives"] == results["rows"][0]["objectives"]
    assert parent["against_found"]["flipped"] > 0


def test_rounding_to_bfloat16_reports_the_flipped_examples(
    reasoning: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    _, out, path = reasoning
    folder = tmp_path / "rounded"
    build_checkpoint(out / RECIPE, folder, dtype="bfloat16")
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    result = score_once(str(folder), read_study(path), "test")
    flipped = result["against_found"]["flipped"]
    assert 0 <= flipped < 20
    assert f"{flipped} of 48 examples came out differently" in "\n".join(figures_of(result))


PLAIN = """\
import json, sys
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration
assert not {"merge_ops", "objectives", "studies", "search"} & sys.modules.keys()
model, info = LlavaForConditionalGeneration.from_pretrained(sys.argv[1], output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
processor = AutoProcessor.from_pretrained(sys.argv[1])
turn = [{"role": "user", "content": [{"type": "text", "text": "red 3 blue 5 . sum ?"}]}]
text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
inputs = processor.tokenizer(text, return_tensors="pt", add_special_tokens=False)
with torch.no_grad():
    print(json.dumps(model(**inputs).logits[0, -1].tolist()))
"""


def test_an_export_loads_in_plain_transformers_with_the_live_logits(
    preference: tuple[dict[str, Any], Path, Path], tmp_path: Path
) -> None:
    from merge_ops.residency import load_resident
    from merge_ops.runtime import Runtime

    recipe = read_recipe(preference[1] / RECIPE)
    folder = tmp_path / "checkpoint"
    build_checkpoint(preference[1] / RECIPE, folder)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, folder], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    tokenizer = resident.processor.tokenizer
    ids = tokenizer("<bos> red 3 blue 5 . sum ?", return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        live = resident.module(input_ids=ids["input_ids"]).logits[0, -1]
    assert torch.equal(torch.tensor(json.loads(done.stdout.splitlines()[-1])), live)
    head = load_file(folder / "reward_head.safetensors")
    assert resident.score_head is not None
    assert torch.equal(head["score.weight"], resident.score_head.state_dict()["weight"])
    assert "reward_head.safetensors" in (folder / "README.md").read_text()


def test_a_time_budget_ends_the_search(small_study: MakeStudy) -> None:
    path = small_study("reasoning", out="timed", compare=False)
    content = path.read_text().replace("trials: 3", "trials: null\n  timeout: 2s")
    path.write_text(content)
    begun = time.monotonic()
    results, _ = run(path)
    assert results["trials"] >= 1
    assert results["ended"] == {"search": "timeout: the time is over"}
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    "method",
    ["dare_ties", *(pytest.param(m, marks=pytest.mark.slow) for m in OTHERS)],
)
@pytest.mark.parametrize("sampler", ["tpe"])
def test_every_method_runs_as_a_study(small_study: MakeStudy, method: str, sampler: str) -> None:
    knobs: dict[str, list[float]] = {"weight": [0.1, 1.0]}
    if method != "linear":
        knobs["density"] = [0.2, 1.0]
    path = small_study(
        "preference",
        out=f"m-{method}",
        trials=13,
        method=method,
        sampler=sampler,
        compare=False,
        search={"knobs": knobs, "bands": 2, "modules": ["attention", "mlp"]},
    )
    results, out = run(path)
    assert (results["trials"], results["failed_trials"]) == (13, 0)
    assert {t.user_attrs["source"] for t in read_trials(out)} == {"warm start", "tpe"}
    assert read_recipe(out / RECIPE).method == method


def test_a_study_whose_every_trial_fails_says_why(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise UserError("merged weights must be finite")

    monkeypatch.setattr("merge_ops.resident.ResidentModel.become", broken)
    with pytest.raises(UserError, match="the first 3 trials failed: merged"):
        run(small_study("reasoning", out="broken", trials=9, compare=False))


def test_a_dead_tracker_does_not_stop_a_study(
    small_study: MakeStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_study(
        "reasoning",
        out="untracked",
        trials=2,
        compare=False,
        tracking={"enabled": True, "uri": "http://127.0.0.1:9"},
    )
    results, out = run(path)
    assert results["trials"] == 2
    assert (out / RESULTS).exists()
    assert "tracking" in capfd.readouterr().err


def test_results_are_written_for_people_too(
    reasoning: tuple[dict[str, Any], Path, Path],
) -> None:
    _, out, _ = reasoning
    table = (out / "results.md").read_text()
    assert table.count("\n") == 2 + 9
    for name in ("history", "depth"):
        picture = out / "figures" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    splits = json.loads((out / "splits.json").read_text())
    sizes = {k: {s: len(ids) for s, ids in v.items()} for k, v in splits["objectives"].items()}
    assert sizes["reasoning"] == {"selection": 24, "confirm": 24, "test": 24}
    assert (out / RECIPE).stat().st_mode & 0o777 == 0o644


def test_splits_may_not_share_examples(small_study: MakeStudy) -> None:
    from objectives.errors import ObjectiveError

    path = small_study("reasoning", out="leaky")
    content = path.read_text()
    path.write_text(content.replace("reasoning-test", "reasoning-confirm"))
    with pytest.raises(ObjectiveError, match="the splits must not share examples"):
        run(path)


def test_a_ledger_holds_whole_trials_only(
    reasoning: tuple[dict[str, Any], Path, Path],
) -> None:
    trials = read_trials(reasoning[1])
    assert all(t.state.is_finished() for t in trials)
    assert isinstance(Ledger, type)
    assert all(
        set(t.user_attrs["seconds"]) == {"suggest", "build", "score", "record"} for t in trials
    )
    assert all(t.user_attrs["memory"]["host"] > 2**20 for t in trials)
    assert all(t.user_attrs["items"] > 0 for t in trials if COPY_OF not in t.user_attrs)
    for trial in trials:
        assert trial.duration is not None
        told = trial.user_attrs["seconds"]
        assert trial.duration.total_seconds() >= told["suggest"] + told["build"] + told["score"]
