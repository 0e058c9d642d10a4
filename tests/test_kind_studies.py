"""Studies of every kind of objective: from lines of a study file to scores on the zoo."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from objectives.generation import Generation
from objectives.multiple_choice import MultipleChoice
from objectives.objective import Objective
from objectives.records import SPLITS, ExampleScore, ScoreSet
from objectives.smooth import smooth_scores
from studies.evaluator import Evaluator
from studies.objectives_setup import make_objectives
from studies.run import run_study
from studies.setup import read_study
from tests.published import write_copy

MODELS = """\
name: s
target: models/vlm
base: models/base
experts: [{model: models/vlm, name: vlm}, {model: models/reward, name: reward}]
reward_head: models/reward
search: {knobs: {weight: [0, 1]}}
runtime: {device: cpu, threads: 1}
tracking: {enabled: false}
"""


@pytest.fixture
def write(tmp_path: Path, demo_folder: Path) -> Callable[..., Path]:
    """Write a study file with these lines of objectives."""
    (tmp_path / "models").symlink_to(demo_folder / "models")

    def made(objectives: str, **more: Any) -> Path:
        path = tmp_path / "study.yaml"
        rest = "".join(f"{key}: {json.dumps(value)}\n" for key, value in more.items())
        path.write_text(f"{MODELS}{rest}objectives:\n{objectives}")
        return path

    return made


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("mmstar", "", MultipleChoice),
        ("mmmu_pro", "mode: written", MultipleChoice),
        ("mmmu_pro_vision", "mode: text, normalise: byte", MultipleChoice),
        ("mathvista", "kind: choice", MultipleChoice),
        ("textvqa", "", Generation),
        ("chartqa", "metric_options: {tolerance: 0.1}", Generation),
        ("gqa", "kind: likelihood", Likelihood),
        ("vl_rewardbench", "kind: judge, mode: pick", Judge),
        ("best_of_n", "data: x.jsonl", Picking),
    ],
)
def test_a_preset_of_every_kind_becomes_its_objective(
    write: Write, tmp_path: Path, name: str, extra: str, expected: type
) -> None:
    source = write_copy(name, tmp_path)
    (config,) = read_study(write(f"  - {{preset: {name}, {extra}}}\n")).config.objectives
    rule = find_preset(name).rule
    data = read_source(str(source), rule).examples
    data = tuple(e for e in data if "options" in e.lists or config.kind != "choice")
    shown = [with_suffix(e, config.suffix, apart=config.suffix_apart) for e in data]
    objective = make_objective(config, dict.fromkeys(SPLITS, shown))
    assert type(objective) is expected
    assert isinstance(objective, RequestObjective)
    for example in objective.examples("test"):
        assert objective.requests(example)
    if name == "mmstar":  # "macro over l2 too"
        assert (config.average, config.categories) == ("macro", "l2_category")
    if name == "mmmu_pro_vision":  # the options stand in the picture
        assert objective.requests(shown[0])[0].prompt.turns[0].text.count("\n") == 1


def rows(folder: Path, count: int, **changes: Any) -> str:
    """Lines of questions with options, of which every third has none."""
    lines = []
    for i in range(count):
        row = {"id": f"q{i}", "question": f"What is {i}?", "answer": "B", "options": ["x", f"{i}"]}
        lines.append(json.dumps({**row, **changes}) + "\n")
    (folder / "rows.jsonl").write_text("".join(lines))
    return "data: rows.jsonl, split: {selection: 4, confirm: 4, test: rest}"


@pytest.mark.parametrize("signal", ["metric", "smooth"])
def test_the_search_maximises_the_signal_and_reports_show_the_metric(
    write: Write, tmp_path: Path, signal: str
) -> None:
    data = rows(tmp_path, 12)
    path = write(
        f"  - {{name: c, kind: choice, mode: text, signal: {signal}, {data}}}\n",
        **QUICK,
    )
    study = read_study(path)
    results = run_study(study)
    (trial, *_) = Ledger(study.out, SEARCH, {}).trials if False else ledger_trials(study.out)
    figure = trial.user_attrs["figures"]["c"]
    objective = make_objectives(study.config, study.folder).main[0]
    evaluator = Evaluator(
        load_models(study), (objective,), study.out, smooth=frozenset({"c"} & {"c"})
    )
    assert (trial.value == figure) == (signal == "metric")
    assert results["rows"][-1]["objectives"]["c"]["n"] == 4
    assert evaluator is not None
