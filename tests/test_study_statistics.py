"""Whole studies of the methods with statistics: collected once, named by what is found."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from merge_ops.errors import UserError
from merge_ops.recipe_yaml import read_recipe
from studies import cli
from studies.export import build_checkpoint
from studies.ledger import read_trials
from studies.paths import RECIPE, STATISTICS
from studies.run import run_study
from studies.scoring import score_once
from studies.setup import read_study

MakeStudy = Callable[..., Path]
OWN = {"objective": {"vlm": "perception", "math": "reasoning"}, "items": 8}
KNOBS: dict[str, dict[str, list[float]]] = {
    "regmean": {"a": [0.0, 1.0], "weight": [0.1, 1.0]},
    "regmean++": {"a": [0.0, 1.0]},
    "fisher": {"weight": [0.1, 1.0]},
}


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=pytest.mark.slow if m == "regmean++" else []) for m in KNOBS],
)
def test_a_study_runs_from_its_file_to_a_checkpoint(
    small_study: MakeStudy,
    method: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = small_study(
        "reasoning",
        out=f"s-{method.replace('+', 'p')}",
        method=method,
        trials=5,
        compare=False,
        search={"knobs": KNOBS[method], "bands": 2},
        statistics=OWN,
    )
    study = read_study(path)
    results = run_study(study)
    assert (results["trials"], results["failed_trials"]) == (5, 0)
    assert len({t.user_attrs["digest"] for t in read_trials(study.out)}) == 5
    assert f"collecting statistics for {method}: " in capfd.readouterr().err
    recipe = read_recipe(study.out / RECIPE)
    assert recipe.method == method
    assert recipe.statistics is not None
    assert f"file: {STATISTICS}\n" in (study.out / RECIPE).read_text()
    again = score_once(str(study.out / RECIPE), read_study(path), "test")
    assert again["objectives"] == results["rows"][-1]["objectives"]
    build_checkpoint(study.out / RECIPE, tmp_path / "made")
    tensors = load_file(tmp_path / "made" / "model.safetensors").values()
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)
    made = score_once(str(tmp_path / "made"), read_study(path), "test")
    assert made["objectives"] == again["objectives"]
    assert read_recipe(tmp_path / "made" / RECIPE).digest() == recipe.digest()
    before = (study.out / STATISTICS).stat().st_mtime_ns
    assert run_study(study) == results
    assert (study.out / STATISTICS).stat().st_mtime_ns == before


def test_statistics_alone_and_then_the_study_that_takes_them(
    small_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    search = {"knobs": KNOBS["fisher"]}
    path = small_study(
        "preference",
        out="s-alone",
        method="fisher",
        trials=2,
        compare=False,
        search=search,
        statistics={"items": 4},
    )
    study = read_study(path)
    monkeypatch.setattr(sys, "argv", ["mergetuna", "statistics", str(path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capfd.readouterr()
    assert (stopped.value.code, told.out.count("sha256: ")) == (0, 1)
    assert told.err.count("s-alone: ") == 3
    assert [p.name for p in study.out.iterdir() if p.name[0] != "."] == [STATISTICS]
    run_study(study)
    assert "collecting" not in capfd.readouterr().err
    recipe = read_recipe(study.out / RECIPE)
    assert recipe.statistics is not None
    assert recipe.statistics.sha256 in told.out


def test_other_statistics_are_another_study(small_study: MakeStudy) -> None:
    changes: dict[str, Any] = {
        "method": "fisher", "compare": False, "search": {"knobs": KNOBS["fisher"]},
    }  # fmt: skip
    path = small_study("preference", out="s-other", trials=1, statistics={"items": 3}, **changes)
    study = read_study(path)
    run_study(study)
    (study.out / STATISTICS).unlink()
    changes["statistics"] = {"items": 2}
    with pytest.raises(UserError, match=r"statistics\.items: was 3, is now 2; this changes"):
        run_study(read_study(small_study("preference", out="s-other", trials=2, **changes)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statistics": {"split": "test"}}, "statistics.split: statistics are collected on sele"),
        ({"statistics": {"split": "train"}}, "statistics.split: input should be 'selection', 'c"),
        ({"statistics": {"item": 3}}, "statistics.item: unknown key, did you mean 'items'?"),
        ({"statistics": {"items": 0}}, "statistics.items: input should be greater than 0"),
        ({"statistics": {"objective": "sums"}}, "statistics.objective: there is no objective 's"),
        (
            {"statistics": {"objective": {"vlm": "reasoning"}}},
            "statistics.objective: it names none for 'math'",
        ),
        (
            {"statistics": {"objective": {"vlm": "reasoning", "math": "sums"}}},
            "statistics.objective.math: there is no objective 'sums'; known are ['reasoning', 'p",
        ),
        (
            {"statistics": {"objective": {"vlm": "reasoning", "maths": "reasoning"}}},
            "statistics.objective: there is no expert 'maths', did you mean 'math'?",
        ),
        ({"method": "linear", "statistics": OWN}, "statistics: linear takes none; drop the block"),
    ],
)
def test_a_mistake_in_the_block_is_told_with_its_place(
    small_study: MakeStudy, changes: dict[str, Any], message: str
) -> None:
    settings = {"method": "regmean", "search": {"knobs": {"weight": [0.1, 1.0]}}, **changes}
    path = small_study("reasoning", out="s-wrong", **settings)
    with pytest.raises(UserError) as caught:
        read_study(path)
    lines = str(caught.value).lower().splitlines()
    place = next(line for line in lines if message.lower() in line).removeprefix(
        f"{path}:".lower()
    )
    assert int(place.split(":")[0]) > 1


def test_a_method_without_statistics_has_none_to_collect(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_study("reasoning", out="s-none")
    monkeypatch.setattr(sys, "argv", ["mergetuna", "statistics", str(path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path}:")
    assert error.endswith("method: task_arithmetic takes no statistics\n")
