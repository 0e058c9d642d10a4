"""The command line: quick help, one line per mistake, JSON where asked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from merge_ops.recipe_yaml import parse_recipe, read_recipe
from studies import cli
from studies.setup import read_study


def mergetuna(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studies.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, studies.cli; "
        "print({'torch', 'transformers', 'optuna', 'mlflow', 'cma', 'datasets', 'numpy', "
        "'pydantic', 'ruamel.yaml'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_answers_within_half_a_second_of_cpu() -> None:
    spent = []
    for _ in range(3):
        before = os.times()
        assert mergetuna("--help").returncode == 0
        after = os.times()
        spent.append(
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip
    assert min(spent) < 0.5, spent


def test_init_writes_a_study_file_that_is_valid_but_for_its_models(tmp_path: Path) -> None:
    assert mergetuna("init", cwd=tmp_path).returncode == 0
    for name in ("vlm", "base", "math"):
        (tmp_path / "models" / name).mkdir(parents=True)
    study = read_study(tmp_path / "study.yaml")
    assert study.labels == ("vlm", "math")
    assert study.out == tmp_path / "runs" / "my-study"
    again = mergetuna("init", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "study.yaml exists; choose another name.\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("sampler: tpe", "sampler: tpee"), "sampler: input should be 'auto', 'tpe', 'gp',"),
        (("target: models", "tagret: models"), "tagret: unknown key, did you mean 'target'?"),
        (
            ("weight: [0.0, 1.5]", "weight: [1.5, 0.0]"),
            "search.knobs.weight: must be [low, high] with low < hig",
        ),
        (
            ("weight: [0.0, 1.5]", "wait: [0.0, 1.5]"),
            "task_arithmetic searches ['lambda', 'weight'",
        ),
        (("method: task_arithmetic", "method: ta"), "method: there is no merge method 'ta'"),
        (
            ("kind: generation", "kind: generaton"),
            ":43:5: objectives.0.kind: must be one of generation, choice, preference, best_of_n,",
        ),
        (
            ("max_new_tokens: 16", "max_new_token: 16"),
            "objectives.0.max_new_token: unknown key, did",
        ),
        (("max_new_tokens: 16", "max_new_tokens: -1"), "objectives.0.max_new_tokens: input"),
        (
            ("models/base", "models/bsae"),
            "base: there is no folder 'models/bsae', did you mean 'base'",
        ),
        (("trials: 100", "trials: null"), "a budget needs `trials`, `timeout` or"),
        (("  # timeout: 8h", "  timeout: 8x"), "a duration reads like 90s, 30m, 8h or 1d"),
        (("linear_grid,", "linear_gird,"), "there is no grid 'linear_gird'"),
        (("seed: 0", "seed: 0\nseed: 1"), "not valid YAML: found duplicate key"),
    ],
)
def test_a_mistake_in_a_study_file_is_one_line_with_its_place(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    from merge_ops.errors import UserError

    template = Path(cli.__file__).parent / "templates" / "study.yaml"
    for name in ("vlm", "base", "math"):
        (tmp_path / "models" / name).mkdir(parents=True)
    path = tmp_path / "study.yaml"
    assert change[0] in template.read_text()
    path.write_text(template.read_text().replace(*change))
    with pytest.raises(UserError) as caught:
        read_study(path)
    text = str(caught.value).lower()
    assert expected.lower() in text
    assert text.startswith(f"{path}:".lower())
    place = text.removeprefix(f"{path}:".lower()).split(":")
    assert place[0].isdigit()
    assert place[1].isdigit()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "none.yaml"), "none.yaml: there is no such file."),
        (("merge", "none.yaml", "--out", "x"), "none.yaml: there is no such file."),
        (
            ("trials", "."),
            ".: a study's folder holds ledger.journal or storage.json, but this one does not.",
        ),
        (
            ("best", "."),
            ".: a study's folder holds ledger.journal or storage.json, but this one does not.",
        ),
        (("eval", "x.yaml", "--study", "s.yaml", "--split", "tests"), "--split must be one of"),
        (("ui", "."), "."),
    ],
)
def test_a_users_mistake_exits_with_2_and_no_traceback(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = mergetuna(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_trials_and_best_tell_what_the_study_did(
    small_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.run import run_study

    study = read_study(small_study("reasoning", out="told", trials=3, compare=False))
    results = run_study(study)
    runner = CliRunner()
    listed = json.loads(runner.invoke(cli.app, ["trials", str(study.out), "--json"]).stdout)
    assert [t["number"] for t in listed] == [0, 1, 2]
    assert {t["state"] for t in listed} == {"COMPLETE"}
    assert all(len(t["params"]) == 12 and t["values"] == [t["value"]] for t in listed)
    assert runner.invoke(cli.app, ["trials", str(study.out)]).stdout.count("COMPLETE") == 3
    best = runner.invoke(cli.app, ["best", str(study.out)]).stdout
    kept = study.out / "recipe.yaml"
    assert "../models/vlm" in kept.read_text()
    assert parse_recipe(best, Path("/elsewhere/recipe.yaml")) == read_recipe(kept)
    assert best.count("\n") == kept.read_text().count("\n")
    assert results["winner"]["digest"] in best
    (study.out / "recipe.yaml").rename(study.out / "aside.yaml")
    unfinished = runner.invoke(cli.app, ["best", str(study.out)])
    assert "has not chosen yet" in str(unfinished.exception)
    monkeypatch.setattr(sys, "argv", ["mergetuna", "best", str(study.out)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2


def test_methods_are_listed_with_knobs_and_sources() -> None:
    from merge_ops.registry import all_ops

    runner = CliRunner()
    listed = runner.invoke(cli.app, ["methods"]).stdout
    assert all(op.name in listed for op in all_ops())
    one = runner.invoke(cli.app, ["methods", "ties"]).stdout
    assert "arXiv:2306.01708" in one
    assert "[0.05, 1]" in one
    unknown = runner.invoke(cli.app, ["methods", "tise"])
    assert "did you mean 'ties'?" in str(unknown.exception)


def test_merge_refuses_a_full_folder_before_it_works(
    llamas: dict[str, str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    models = f"[{{model: {llamas['a']}}}, {{model: {llamas['b']}}}]"
    recipe.write_text(f"merge_method: linear\nmodels: {models}\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    begun = time.monotonic()
    done = mergetuna("merge", recipe, "--out", out)
    assert done.returncode == 2
    assert "exists; choose another folder or pass --overwrite" in done.stderr
    assert (out / "precious").read_text() == "x"
    assert time.monotonic() - begun < 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "recipe.yaml"]
