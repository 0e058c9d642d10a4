"""Studies that search short lists: what they print, solve, keep and refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from merge_ops.engine import Engine
from merge_ops.errors import UserError
from merge_ops.jobs import Job
from merge_ops.recipe_yaml import read_recipe
from merge_ops.registry import get_op
from merge_ops.solving import Solvable
from studies import cli
from studies.ledger import GLOBAL, read_trials
from studies.paths import CHOICES, DEPTH, RECIPE
from studies.preparation import Solving, prepare
from studies.run import run_study
from studies.scoring import score_once
from studies.setup import read_study
from studies.table import verdicts

MakeStudy = Callable[..., Path]
SEARCH: dict[str, Any] = {
    "knobs": {"lambda": [0.3, 1.5]},
    "choices": {"t": [100, 1000], "r": [0.3, 1.0], "init": ["sum", "mean"]},
    "bands": 2,
}


def test_a_study_over_lists_solves_first_and_never_again(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    solved: list[str] = []
    counts: list[int] = []
    real = Engine._solve

    def counting(self: Engine, job: Any) -> Any:
        solved.append(job.name)
        return real(self, job)

    def preparing(*args: Any) -> None:
        prepare(*args)
        counts.append(len(solved))

    monkeypatch.setattr(Engine, "_solve", counting)
    monkeypatch.setattr("studies.opening.prepare", preparing)
    path = small_study("reasoning", out="c1", trials=14, method="swudi", search=SEARCH)
    path.write_text(path.read_text().replace("sampler: cma", "sampler: tpe"))
    study = read_study(path)
    results = run_study(study)
    (count,) = counts
    assert count == len(solved)
    assert count % 8 == 0

    lines = capfd.readouterr().err
    assert "solved task vectors x 8" in lines
    assert "8 combinations of t (2), r (2), init (2) x " in lines
    assert "solving swudi: about " in lines
    assert f"solving swudi: {count} task vectors in " in lines

    trials = read_trials(study.out)
    assert [t.user_attrs["source"] for t in trials] == ["warm start"] + 13 * ["tpe"]
    assert {t.params["t"] for t in trials} == {100.0, 1000.0}
    assert {t.params["init"] for t in read_trials(study.out, GLOBAL)} == {"sum", "mean"}
    assert trials[0].params == {
        "lambda.0": 1.0,
        "lambda.1": 1.0,
        "t": 100.0,
        "r": 0.3,
        "init": "sum",
    }

    winner = trials[results["winner"]["trial"]].params
    assert results["winner"]["choices"] == {k: winner[k] for k in ("t", "r", "init")}
    said = f"takes t {winner['t']:g}, r {winner['r']:g}, init {winner['init']}."
    assert any(said in sentence for sentence in verdicts(results))
    recipe = read_recipe(study.out / RECIPE)
    assert recipe.parameters["init"][0].value == winner["init"]
    assert recipe.parameters["t"][0].value == winner["t"]
    for picture in (CHOICES, DEPTH):
        assert (study.out / picture).read_bytes().startswith(b"\x89PNG")
    again = score_once(str(study.out / RECIPE), read_study(path), "test")
    assert again["value"] == results["rows"][-1]["score"]["value"]

    shown = CliRunner().invoke(cli.app, ["trials", str(study.out)]).output
    assert "init" in shown.splitlines()[1]
    assert shown.count("mean") == sum(t.params["init"] == "mean" for t in trials)


def test_lists_alone_are_enough_and_cma_takes_numbers(small_study: MakeStudy) -> None:
    path = small_study(
        "reasoning",
        out="c2",
        trials=6,
        method="ties",
        sampler="cma",
        compare=False,
        search={"choices": {"lambda": [0.4, 0.8, 1.2], "normalize": [True, False]}},
    )
    study = read_study(path)
    assert study.solutions() == 0
    results = run_study(study)
    assert (results["trials"], results["failed_trials"]) == (6, 0)
    assert results["sampler"] == "cma"
    assert not (study.out / DEPTH).exists()
    trials = read_trials(study.out)
    assert {t.user_attrs["source"] for t in trials} == {"warm start", "cma"}
    assert {t.params["lambda"] for t in trials} <= {0.4, 0.8, 1.2}


BOTH = "is searched over this list or in search.knobs, but not in both"


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"choices": {"stepz": [1, 2]}}, "search.choices.stepz: swudi has no parameter 'stepz'"),
        ({"choices": {"inti": ["sum", "mean"]}}, "did you mean 'init'?"),
        ({"choices": {"t": [100, "many"]}}, "search.choices.t.1: must be a finite number or"),
        ({"choices": {"t": [100, [200, 300]]}}, "search.choices.t.1: must be one value, but got"),
        ({"choices": {"init": ["sum", "middle"]}}, "search.choices.init.1: must be 'sum', 'mean'"),
        ({"choices": {"r": [1, 0.3, 1.0]}}, "search.choices.r.2: 1.0 stands here twice"),
        ({"choices": {"r": []}}, "search.choices.r: must list two values or more"),
        ({"choices": {"t": [300]}}, "one value is no choice; put it under parameters: {t: 300"),
        ({"choices": {"t": 300}}, "search.choices.t: Input should be a valid list"),
        ({"knobs": {"lambda": [0, 1]}, "choices": {"lambda": [0.5, 1]}}, BOTH),
        ({"knobs": {"t": [100, 900]}}, "short list: search.choices.t: [100, 900]"),
        ({"choices": {"init": ["sum", "mean", "zero"]}}, "three or more texts have none; use"),
        ({"knobs": {}}, "must give at least one of ['lambda'] as [low, high], or `choices`"),
    ],
)
def test_a_mistake_in_a_list_is_named_with_its_place(
    small_study: MakeStudy, search: dict[str, Any], expected: str
) -> None:
    path = small_study("reasoning", out="wrong", method="swudi", search=search)
    with pytest.raises(UserError) as error:
        read_study(path)
    text = str(error.value)
    assert expected in text
    lines = path.read_text().splitlines()
    for line in text.splitlines():
        row = int(line.split(":")[1])
        assert lines[row - 1 :][0].strip()
        assert "search" in "\n".join(lines[:row])


@pytest.mark.parametrize(
    ("method", "more", "search", "expected"),
    [
        ("ties", {}, {"choices": {"weight": [0.5, 1]}}, "ties has one weight per expert; search"),
        ("nuslerp", {}, {"choices": {"task_vectors": [True, False]}}, "no matter of search"),
        ("layer_swap", {}, {"choices": {"b": [1, 2.5]}}, "search.choices.b.1: must be one whole"),
        (
            "aswudi",
            {},
            {"choices": {"rule": ["entropy", "stabel_rank"]}},
            "search.choices.rule.1: rule must be one of",
        ),
        (
            "swudi",
            {"parameters": {"r": 1.0}},
            {"choices": {"r": [0.5, 1]}},
            "parameters.r: it is either searched or fixed",
        ),
    ],
)
def test_what_makes_no_choice_is_refused(
    small_study: MakeStudy,
    method: str,
    more: dict[str, Any],
    search: dict[str, Any],
    expected: str,
) -> None:
    path = small_study("reasoning", out="wrong", method=method, search=search, **more)
    with pytest.raises(UserError) as error:
        read_study(path)
    assert expected in str(error.value)


def test_a_place_is_the_values_own(small_study: MakeStudy) -> None:
    path = small_study("reasoning", out="wrong", method="swudi")
    text = path.read_text()
    start, end = text.index("search:"), text.index("objectives:")
    search = "search:\n  choices:\n    t: [100, 300]\n    init: [sum, middle]\n"
    path.write_text(text[:start] + search + text[end:])
    row = text[:start].count("\n") + 4
    with pytest.raises(UserError, match=rf"wrong\.yaml:{row}:17: search\.choices\.init\.1: must"):
        read_study(path)


def test_a_terminal_gets_a_bar(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(small_study("reasoning", out="bar", method="swudi", search=SEARCH))
    job = Job("w", get_op("swudi"), "base", ("a",), {}, 0)
    work = [Solvable(job, (2, i % 3), 1024) for i in range(20)]
    for terminal in (True, False):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        assert list(Solving(study, 8, torch.device("cpu"))(work)) == work
        shown = capsys.readouterr().err
        assert "20.0 KiB on cpu" in shown
        assert "by one of each shape" in shown
        assert ("20/20" in shown) == terminal
