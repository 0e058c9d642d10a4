"""Tasks of lm-evaluation-harness on the zoo; skipped where it is not installed."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from objectives.errors import ObjectiveError
from objectives.evaluation import score_all
from objectives.harness import HarnessObjective, language_model, read_documents
from objectives.prompts import tokenizer_of
from studies.run import run_study
from studies.setup import read_study

installed = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed"
)
quiet = pytest.mark.filterwarnings("ignore")  # the harness's and its many dependencies' own
COUNT = 9


@pytest.fixture(scope="module")
def tasks(demo_folder: Path) -> Path:
    """A folder with one task of three choices for each document."""
    folder = demo_folder / "tasks"
    folder.mkdir(exist_ok=True)
    docs = [
        {"q": f"{i} + 1 =", "choices": [str(i), str(i + 1), "red"], "gold": 1}
        for i in range(COUNT)
    ]
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (folder / "tiny.yaml").write_text(
        "task: tiny_sums\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: '{folder / 'docs.jsonl'}'}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        'doc_to_text: "{{q}}"\n'
        'doc_to_choice: "{{choices}}"\n'
        'doc_to_target: "{{gold}}"\n'
        "metric_list: [{metric: acc}]\n"
    )
    return folder


@pytest.fixture(scope="module")
def live(demo_folder: Path) -> ResidentModel:
    models = {name: str(demo_folder / "models" / name) for name in ("base", "vlm", "math")}
    recipe = Recipe(
        "task_arithmetic",
        tuple(Source(models[n], {"weight": (Entry(None, 0.9),)}) for n in ("vlm", "math")),
        models["base"],
        dtype="float32",
        target=models["vlm"],
        exclude=("embed_tokens", "lm_head"),
    )
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return resident


@torch.no_grad()
def log_likelihood(live: ResidentModel, context: str, answer: str) -> float:
    """By one full forward pass of the whole model on plain text."""
    tokenizer = tokenizer_of(live)
    whole = tokenizer(context + answer, return_tensors="pt").input_ids
    start = tokenizer(context, return_tensors="pt").input_ids.shape[1]
    logs = live.module(input_ids=whole).logits[0, start - 1 : -1].float().log_softmax(-1)
    return float(logs.gather(-1, whole[0, start:, None]).sum())


@installed
@quiet
def test_the_live_model_answers_the_harness(live: ResidentModel) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    model = language_model(live, 4)
    assert isinstance(model, LM)
    asked = [("2 + 1 =", " 3"), ("4 + 1 =", " red"), ("7 + 1 =", " 8")]
    told = model.loglikelihood(
        [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(asked)]
    )
    for (value, _), pair in zip(told, asked, strict=True):
        assert value == pytest.approx(log_likelihood(live, *pair), abs=1e-4)
    (rolling,) = model.loglikelihood_rolling(
        [Instance("loglikelihood_rolling", {}, ("2 + 1 = 3",), 0)]
    )
    assert rolling < told[0][0]
    until = {"until": ["="], "max_gen_toks": 4}
    (text,) = model.generate_until([Instance("generate_until", {}, ("2 + 1 =", until), 0)])
    assert "=" not in text


@installed
@quiet
def test_a_task_s_metric_is_that_of_single_forward_passes(
    live: ResidentModel, tasks: Path
) -> None:
    documents = read_documents("tiny_sums", str(tasks))
    assert [document.id for document in documents] == [str(i) for i in range(COUNT)]
    shuffled = tuple(documents[i] for i in (7, 2, 4, 0))
    objective = HarnessObjective("h", {"test": shuffled}, "tiny_sums", folder=str(tasks))
    scores = score_all(objective, live, "test")
    for score, document in zip(scores.scores, shuffled, strict=True):
        number = int(document.id)
        options = (str(number), str(number + 1), "red")
        logs = [log_likelihood(live, document.question, f" {option}") for option in options]
        assert score.value == float(logs.index(max(logs)) == 1)
    with pytest.raises(ObjectiveError, match=r"must give f1 in .0, 1. for each document"):
        score_all(
            HarnessObjective("h", {"test": shuffled}, "tiny_sums", "f1", folder=str(tasks)),
            live,
            "test",
        )


@installed
@quiet
def test_a_study_on_a_task_divides_its_documents(
    small_study: Callable[..., Path], tasks: Path
) -> None:
    objective = {
        "name": "sums",
        "kind": "lm_eval",
        "harness_task": "tiny_sums",
        "tasks_folder": tasks.name,
        "split": {"selection": 3, "confirm": 3, "test": "rest"},
    }
    changes = {"objectives": [objective], "trials": 1, "compare": False}
    path = small_study("reasoning", out="sums", **changes)
    results = run_study(read_study(path))
    assert results["rows"][-1]["objectives"]["sums"]["n"] == 3


@installed
@quiet
def test_a_task_that_does_not_exist_is_said(tasks: Path) -> None:
    with pytest.raises(ObjectiveError, match="the task 'tiny_summs' cannot be read"):
        read_documents("tiny_summs", str(tasks))


def test_a_missing_harness_is_one_line_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(ObjectiveError, match=r"pip install 'mergetuna\[lm_eval\]'") as raised:
        read_documents("tiny_sums")
    assert "\n" not in str(raised.value)
