"""Studies of every kind of objective: from lines of a study file to scores on the zoo."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from merge_ops.errors import UserError
from objectives.data import with_suffix
from objectives.errors import ObjectiveError
from objectives.generation import Generation
from objectives.judging import Judge
from objectives.likelihood import Likelihood
from objectives.multiple_choice import MultipleChoice
from objectives.objective import RequestObjective
from objectives.picking import Picking
from objectives.preset import find_preset
from objectives.reading import read_source
from objectives.records import SPLITS
from studies.ledger import read_trials
from studies.makers import make_objective
from studies.objectives_setup import make_objectives
from studies.run import run_study
from studies.setup import read_study
from tests.published import write_copy

Write = Callable[..., Path]
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
QUICK: dict[str, Any] = {"budget": {"trials": 2}, "compare": False, "confirm_top": 1}


@pytest.fixture
def write(tmp_path: Path, demo_folder: Path) -> Write:
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
    lines = f"  - {{name: c, kind: choice, mode: text, signal: {signal}, {data}}}\n"
    study = read_study(write(lines, **QUICK))
    results = run_study(study)
    for trial in read_trials(study.out, "search"):
        figure = trial.user_attrs["figures"]["c"]
        assert figure * 4 == int(figure * 4)  # a share of four
        assert (trial.value == figure) == (signal == "metric")
    (checked,) = results["self_check"]  # a few examples, once more by plain forward passes
    assert (checked["objective"], checked["n"], checked["flipped"]) == ("c", 4, [])
    assert 0 < checked["largest"] < 1e-4
    assert (results["proxy"] is None) or signal == "smooth"
    shown = results["rows"][-1]["objectives"]["c"]
    assert shown["n"] == 4
    assert shown["value"] * 4 == int(shown["value"] * 4)


def test_examples_without_options_are_left_out_of_a_choice_and_told(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"pid": str(i), "query": f"{i} ?", "answer": "x", "choices": ["x", "y"] if i % 3 else []}
        for i in range(12)
    ]
    (tmp_path / "math.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = "data: math.jsonl, split: {selection: 2, confirm: 2, test: rest}"
    study = read_study(write(f"  - {{preset: mathvista, kind: choice, {data}}}\n"))
    (objective,) = make_objectives(study.config, study.folder).main
    assert sum(len(objective.examples(split)) for split in SPLITS) == 8
    told = " ".join(capsys.readouterr().err.split())
    assert "left out 4 of 12 examples, which have no options" in told


@pytest.mark.parametrize(
    ("preset", "count", "asked"),
    [
        ("mathvista", 1, "(A) Yes\n(B) No"),
        ("mathverse", 2, "What is x?\nChoices:\nA:1\u00b0\nB:2\u00b0"),
        ("mmmu", 1, "(image 1) Which one?\nA. a map\nB. a ship"),
        ("mmstar", 1, "A. On the book.\nB. Beneath\nC. Both\nD. None"),
    ],
)
def test_published_questions_are_multiple_choice(
    write: Write, tmp_path: Path, preset: str, count: int, asked: str
) -> None:
    """Options are those of the row, once."""
    source = write_copy(preset, tmp_path)
    study = read_study(write(f"  - {{preset: {preset}, kind: choice, suffix: Letter.}}\n"))
    (config,) = study.config.objectives
    read = read_source(source, find_preset(preset).rule).examples
    shown = [
        with_suffix(e, config.suffix, apart=config.suffix_apart)
        for e in read
        if "options" in e.lists
    ]
    assert len(shown) == count
    objective = make_objective(config, dict.fromkeys(SPLITS, shown))
    assert isinstance(objective, MultipleChoice)
    told = [objective.requests(example)[0].prompt.turns[0].text for example in shown]
    assert told[0].endswith(f"{asked}\nLetter.")
    if preset == "mathverse":  # whose question and options are in the picture
        assert told[1] == "Answer the question in the image.\nLetter."


def test_categories_may_be_a_group_of_the_examples(write: Write, tmp_path: Path) -> None:
    (config,) = read_study(write("  - {preset: mmstar, categories: colour}\n")).config.objectives
    assert config.categories == "colour"
    write_copy("mmstar", tmp_path)
    data = "data: {selection: test.parquet, confirm: test.parquet, test: test.parquet}"
    study = read_study(write(f"  - {{preset: mmstar, categories: colour, {data}}}\n"))
    with pytest.raises(ObjectiveError, match=r"has no group 'colour'; it has l2_category"):
        make_objectives(study.config, study.folder)


def score_questions(live: Any, examples: Any) -> dict[str, float]:
    """A user's own function: 1 for questions of an even length."""
    assert live.module is not None
    return {example.id: float(len(example.question) % 2 == 0) for example in examples}


def test_a_user_s_function_is_a_study_s_objective(write: Write, tmp_path: Path) -> None:
    data = rows(tmp_path, 12)
    function = "function: 'tests.test_kind_studies:score_questions'"
    line = f"  - {{name: p, kind: python, {function}, {data}}}\n"
    study = read_study(write(line, **QUICK))
    results = run_study(study)
    assert results["rows"][-1]["objectives"]["p"]["n"] == 4
    wrong = line.replace("score_questions", "score_answers")
    bad = read_study(write(wrong))
    with pytest.raises(ObjectiveError, match="has no function 'score_answers'"):
        make_objectives(bad.config, bad.folder)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("{name: c, kind: choice, mode: written, signal: smooth, data: x}", "signal smooth needs"),
        ("{name: c, kind: judge, votes: 3, data: x}", "3 votes at temperature 0 are all the same"),
        ("{name: c, kind: likelihood, signal: smooth, data: x}", "set `distractors: true`"),
        ("{name: c, kind: generation, prompt: Think., data: x}", "must hold {question}"),
        ("{name: c, kind: python, function: mine, data: x}", "objectives.0.function"),
        ("{name: c, kind: lm_eval}", "objectives.0.harness_task: this key"),
    ],
)
def test_mistakes_are_placed_in_the_file(write: Write, objective: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read_study(write(f"  - {objective}\n"))
    assert message in str(raised.value)
    assert "study.yaml:" in str(raised.value)


def test_roles_that_a_kind_needs_and_data_lack_are_named(write: Write) -> None:
    (config,) = read_study(write("  - {preset: gqa, kind: likelihood}\n")).config.objectives
    rule = find_preset("best_of_n").rule
    assert rule.required
    from tests.test_kinds import responses

    with pytest.raises(ObjectiveError, match="the kind likelihood needs answer, but example q"):
        make_objective(config, dict.fromkeys(SPLITS, (responses(1.0),)))
