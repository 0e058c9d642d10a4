"""Objectives on the live model: cached scores equal plain forward passes, and no scorer cheats."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from merge_ops.resident import ResidentModel
from objectives.engine import Engine
from objectives.errors import ObjectiveError
from objectives.evaluation import Evaluation, score_all
from objectives.generation import ROLES, Generation
from objectives.plain import plain_reply
from objectives.preference import ROLES as PAIR_ROLES
from objectives.preference import Preference
from objectives.prompts import encode, render
from objectives.reading import read_examples
from objectives.replay import capture, replay
from objectives.request import question_prompt

COUNT = 24


@pytest.fixture(scope="module")
def questions(demo_folder: Path) -> Generation:
    source = str(demo_folder / "data" / "perception-test.parquet")
    examples = read_examples(source, ROLES, {}, COUNT)
    return Generation("q", {"test": examples}, max_new_tokens=5)


@pytest.fixture(scope="module")
def pairs(demo_folder: Path) -> Preference:
    source = str(demo_folder / "data" / "preferences-test.parquet")
    examples = read_examples(source, PAIR_ROLES, {}, COUNT)
    return Preference("p", {"test": examples})


def answers(
    live: ResidentModel, questions: Generation, engine: Engine | None = None
) -> dict[str, str]:
    """What the model writes, by example id."""
    told = Evaluation(live, [questions], engine).replies("test")
    return {ask.example.id: replies[0].texts[0] for ask, replies in told}


def test_a_replayed_decoder_call_equals_the_full_forward_pass(
    live: ResidentModel, questions: Generation
) -> None:
    prompts = [question_prompt(example) for example in questions.examples("test")[:5]]
    inputs = encode(live, [render(live, p) for p in prompts], [p.images for p in prompts])
    with torch.no_grad():
        full: Any = live.module.base_model(**inputs)  # type: ignore[operator]
    again = replay(live, capture(live, inputs))
    assert torch.equal(again, full.last_hidden_state)


def test_written_answers_equal_transformers_generate_one_by_one(
    live: ResidentModel, questions: Generation
) -> None:
    written = answers(live, questions)
    tokenizer = live.processor.tokenizer
    for example in questions.examples("test"):
        inputs = encode(live, [render(live, question_prompt(example))], [example.images])
        tokens = live.module.generate(**inputs, max_new_tokens=5, do_sample=False)  # type: ignore[operator]
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        assert written[example.id] == tokenizer.decode(answer, skip_special_tokens=True)


def test_scores_are_of_exact_answers_and_keyed_by_id(
    live: ResidentModel, questions: Generation
) -> None:
    scores = score_all(questions, live, "test")
    written = answers(live, questions)
    gold = {e.id: e.texts["answer"] for e in questions.examples("test")}
    assert {s.id: s.value for s in scores.scores} == {
        name: float(written[name] == answer) for name, answer in gold.items()
    }
    assert [s.id for s in scores.scores] == list(gold)  # in the order of the data
    assert 0 < scores.value() < 1  # a scorer that is always right or wrong would show nothing


def test_an_answer_that_was_cut_is_flagged(live: ResidentModel, questions: Generation) -> None:
    scores = score_all(replace(questions, max_new_tokens=1), live, "test")
    assert all("truncated" in score.flags for score in scores.scores)
    whole = [score for score in score_all(questions, live, "test").scores if not score.flags]
    assert len(whole) > COUNT / 2


def test_constrained_answers_are_among_the_allowed(
    live: ResidentModel, questions: Generation
) -> None:
    allowed = ("3", "red blue", "red")
    limited = replace(questions, allowed=allowed)
    assert set(answers(live, limited).values()) <= set(allowed)


def test_the_image_can_be_left_out(live: ResidentModel, questions: Generation) -> None:
    blind = replace(questions, image=False)
    assert score_all(blind, live, "test").value() < score_all(questions, live, "test").value()


@pytest.mark.parametrize("scorer", ["reward_head", "log_probability"])
def test_margins_equal_unbatched_forward_passes(
    live: ResidentModel, pairs: Preference, scorer: Any
) -> None:
    judged = replace(pairs, scorer=scorer)
    for score, example in zip(
        score_all(judged, live, "test").scores, pairs.examples("test"), strict=True
    ):
        plain = [plain_reply(live, request) for request in judged.requests(example)]
        margin = judged.judge(example, plain).margin
        assert score.margin == pytest.approx(margin, abs=1e-5)


@dataclass
class Fixed:
    """The live model with another score head."""

    live: ResidentModel
    score_head: nn.Module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)


class Constant(nn.Module):
    """Scores everything the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.full((len(hidden), 1), self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused_by_example(
    live: ResidentModel, pairs: Preference, value: float
) -> None:
    with pytest.raises(ObjectiveError, match=r"p: preferences-test-\d+: its score is"):
        score_all(pairs, Fixed(live, Constant(value)), "test")


def test_a_missing_reward_head_is_said(live: ResidentModel, pairs: Preference) -> None:
    headless: Any = Fixed(live, None)  # type: ignore[arg-type]
    with pytest.raises(ObjectiveError, match="needs a model with a score head"):
        score_all(pairs, headless, "test")
