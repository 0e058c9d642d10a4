"""Objectives on the live model: cached scores equal plain forward passes, and no scorer cheats."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import Runtime, load_resident
from merge_ops.resident import ResidentModel
from objectives.errors import ObjectiveError
from objectives.generation import ROLES, Generation
from objectives.objective import score_all
from objectives.preference import ROLES as PAIR_ROLES
from objectives.preference import Preference
from objectives.prompts import encode, render
from objectives.reading import read_examples
from objectives.replay import ReplayCache, capture, replay

COUNT = 24


@pytest.fixture(scope="module")
def live(demo_folder: Path) -> ResidentModel:
    models = {name: str(demo_folder / "models" / name) for name in ("base", "vlm", "reward")}
    recipe = Recipe(
        "task_arithmetic",
        tuple(Source(models[n], {"weight": (Entry(None, 0.9),)}) for n in ("vlm", "reward")),
        models["base"],
        dtype="float32",
        target=models["vlm"],
        reward_head=models["reward"],
        exclude=("embed_tokens", "lm_head"),
    )
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    return resident


@pytest.fixture(scope="module")
def questions(demo_folder: Path) -> Generation:
    source = str(demo_folder / "data" / "perception-test.parquet")
    examples = read_examples(source, ROLES, {}, COUNT)
    return Generation("q", {"test": examples}, max_new_tokens=5, batch_size=7)


@pytest.fixture(scope="module")
def pairs(demo_folder: Path) -> Preference:
    source = str(demo_folder / "data" / "preferences-test.parquet")
    examples = read_examples(source, PAIR_ROLES, {}, COUNT)
    return Preference("p", {"test": examples}, batch_size=7)


def plain_hidden(live: ResidentModel, text: str, example: Any) -> tuple[Tensor, Tensor]:
    """Last hidden states and token ids of one example in one full forward pass, not batched."""
    inputs = encode(live, [text], [example], image=True)
    with torch.no_grad():
        output: Any = live.module.base_model(**inputs)  # type: ignore[operator]
    return output.last_hidden_state, inputs["input_ids"]


def test_a_replayed_decoder_call_equals_the_full_forward_pass(
    live: ResidentModel, questions: Generation
) -> None:
    batch = questions.examples("test")[:5]
    texts = [render(live, example, None, image=True) for example in batch]
    inputs = encode(live, texts, batch, image=True)
    with torch.no_grad():
        full: Any = live.module.base_model(**inputs)  # type: ignore[operator]
    again = replay(live, capture(live, inputs))
    assert torch.equal(again, full.last_hidden_state)


def test_written_answers_equal_transformers_generate_one_by_one(
    live: ResidentModel, questions: Generation
) -> None:
    written = questions.answers(live, "test")
    tokenizer = live.processor.tokenizer
    for example in questions.examples("test"):
        inputs = encode(live, [render(live, example, None, image=True)], [example], image=True)
        tokens = live.module.generate(**inputs, max_new_tokens=5, do_sample=False)  # type: ignore[operator]
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        assert written[example.id] == tokenizer.decode(answer, skip_special_tokens=True)


def test_scores_are_of_exact_answers_and_keyed_by_id(
    live: ResidentModel, questions: Generation
) -> None:
    scores = score_all(questions, live, "test")
    written = questions.answers(live, "test")
    gold = {e.id: e.texts["answer"] for e in questions.examples("test")}
    assert {s.id: s.value for s in scores.scores} == {
        name: float(written[name] == answer) for name, answer in gold.items()
    }
    assert 0 < scores.value() < 1  # a scorer that is always right or wrong would show nothing


def test_constrained_answers_are_among_the_allowed(
    live: ResidentModel, questions: Generation
) -> None:
    allowed = ("3", "red blue", "red")
    limited = replace(questions, allowed=allowed)
    assert set(limited.answers(live, "test").values()) <= set(allowed)


def test_the_image_can_be_left_out(live: ResidentModel, questions: Generation) -> None:
    blind = replace(questions, image=False, cache=ReplayCache())
    assert score_all(blind, live, "test").value() < score_all(questions, live, "test").value()


def test_the_cache_follows_a_merge_of_the_embeddings(
    live: ResidentModel, questions: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = questions.cache.get(live, "test", list)
    assert questions.cache.get(live, "test", list) is calls
    monkeypatch.setattr(ResidentModel, "fingerprint", lambda _self, part: f"new {part}")
    fresh = questions.cache.get(live, "other", list)
    assert fresh is not calls
    assert questions.cache.held == 0


def test_a_cache_without_room_keeps_nothing_and_changes_no_score(
    live: ResidentModel, questions: Generation
) -> None:
    poor = replace(questions, cache=ReplayCache(limit=0))
    assert score_all(poor, live, "test") == score_all(questions, live, "test")
    assert poor.cache.held == 0


def test_reward_margins_equal_unbatched_forward_passes(
    live: ResidentModel, pairs: Preference
) -> None:
    margins = pairs.margins(live, "test")
    head = live.score_head
    assert head is not None
    for example in pairs.examples("test"):
        scores = []
        for role in PAIR_ROLES:
            hidden, _ = plain_hidden(
                live, render(live, example, example.texts[role], image=True), example
            )
            scores.append(float(head(hidden[0, -1])))
        assert margins[example.id] == pytest.approx(scores[0] - scores[1], abs=1e-5)


def test_log_probabilities_equal_unbatched_forward_passes(
    live: ResidentModel, pairs: Preference
) -> None:
    judged = replace(pairs, scorer="log_probability").margins(live, "test")
    output = live.module.get_output_embeddings()  # type: ignore[operator]
    for example in pairs.examples("test"):
        prompt = encode(live, [render(live, example, None, image=True)], [example], image=True)
        begin = prompt["input_ids"].shape[1]
        means = []
        for role in PAIR_ROLES:
            text = render(live, example, example.texts[role], image=True)
            hidden, ids = plain_hidden(live, text, example)
            logs = output(hidden[0]).log_softmax(-1)
            steps = range(begin, ids.shape[1])
            means.append(sum(float(logs[i - 1, ids[0, i]]) for i in steps) / len(steps))
        assert judged[example.id] == pytest.approx(means[0] - means[1], abs=1e-5)


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
    headless: Any = SimpleNamespace(score_head=None)
    with pytest.raises(ObjectiveError, match="needs a model with a score head"):
        score_all(pairs, headless, "test")
    assert isinstance(pairs.score(live, "test"), Iterator)
