"""The check of all shortcuts: nothing in float32, counted in bfloat16, and faults are found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from optuna.trial import TrialState, create_trial

from objectives import passes
from objectives.data import Example
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.objective import Objective
from objectives.preference import Preference
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request, Writing, question_prompt
from objectives.scoring import score_behind
from objectives.self_check import EXACT, Checked, self_check
from objectives.settings import Settings
from studies.proxy import rank_agreement
from studies.shortcuts import shortcut_lines
from studies.table import FOUND, verdicts
from tests.family_processors import TinyLive, tiny_live
from tests.test_evaluation import example

PAIRS = Preference("p", {"selection": [example(i) for i in range(12)]})
LOGS = replace(PAIRS, name="logs", scorer="log_probability")


@dataclass(frozen=True)
class Texts:
    """Scores a text by its own characters, so that any other text has another score."""

    name: str = "texts"
    temperature: float = 0.0
    average: Average = "micro"
    weight: float = 1.0

    def examples(self, split: Split) -> Sequence[Example]:
        return PAIRS.examples(split)

    def requests(self, one: Example) -> tuple[Request, ...]:
        writing = Writing(6, votes=2, temperature=self.temperature)
        return (Request(question_prompt(one), "text", writing=writing),)

    def judge(self, one: Example, replies: Sequence[Reply]) -> ExampleScore:
        return ExampleScore(one.id, float(sum(map(ord, replies[0].texts[0])) % 101), "a")


@pytest.fixture(scope="module")
def live() -> TinyLive:
    return tiny_live("llava")


def checked(live: TinyLive, *objectives: Objective, count: int | None = None) -> list[Checked]:
    engine = Engine(Settings(tokens=512, block=8))
    evaluation = Evaluation(live, objectives, engine)
    return self_check(live, objectives, evaluation, count=count)


def test_nothing_differs_in_float32(live: TinyLive) -> None:
    found = checked(live, PAIRS, LOGS, Texts(), count=30)
    assert [one.objective for one in found] == ["p", "logs", "texts"]
    assert all(one.flipped == () and one.n > 5 for one in found)
    assert all(0 < one.largest < 1e-5 for one in found[:2])
    assert found[2].largest == 0


def test_few_examples_are_checked_in_float32_and_no_drawn_texts(live: TinyLive) -> None:
    found = checked(live, PAIRS, Texts(temperature=1.0))
    assert [(one.objective, one.n) for one in found] == [("p", EXACT)]


def test_flips_in_bfloat16_are_counted_with_their_names() -> None:
    live = tiny_live("llava")
    live.module.to(torch.bfloat16)
    live.score_head.to(torch.bfloat16)
    (one,) = checked(live, PAIRS)
    assert one.n == len(PAIRS.examples("selection"))
    assert 0 < one.largest < 0.1  # rounding: what flips has a margin of that size
    assert set(one.flipped) < {e.id for e in PAIRS.examples("selection")}


def test_a_shortcut_that_is_wrong_is_found(
    live: TinyLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any) -> list[Reply]:
        told = score_behind(*args)
        return [replace(reply, score=-(reply.score or 0.0)) for reply in told]

    engine = Engine(Settings(tokens=512))
    engine.shared = True  # as if its own proof on two prompts had passed
    monkeypatch.setattr(passes, "score_behind", wrong)
    evaluation = Evaluation(live, [PAIRS], engine)
    (one,) = self_check(live, [PAIRS], evaluation, count=12)
    assert len(one.flipped) == one.n == 12
    (line,) = shortcut_lines([one.record()])
    assert "p: of 12 examples" in line
    assert "12 came out differently (" in line
    assert json.loads(json.dumps(one.record()))["n"] == 12


def test_memory_that_runs_out_ends_the_check_alone(
    live: TinyLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objectives import self_check as module

    def full(*_: Any) -> Reply:
        raise MemoryError

    monkeypatch.setattr(module, "plain_reply", full)
    assert checked(live, PAIRS) == []


def trials(pairs: Sequence[tuple[float, float]]) -> list[Any]:
    return [
        create_trial(value=signal, user_attrs={"figures": {"c": metric, "c/a": metric}})
        for signal, metric in pairs
    ]


def test_the_rank_correlation_of_a_proxy_with_its_metric() -> None:
    rising = trials([(i / 10, i**2 / 100) for i in range(8)])
    failed = create_trial(state=TrialState.FAIL, user_attrs={"reason": "x"})
    found = rank_agreement([*rising, failed], {"c": 1.0})
    assert found is not None
    assert (found["value"], found["n"]) == (pytest.approx(1.0), 8)
    # ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) = 0.8
    some = rank_agreement(trials([(1, 2), (2, 1), (3, 4), (4, 3), (5, 5)]), {"c": 2.0})
    assert some is not None
    assert some["value"] == pytest.approx(0.8)
    assert -1 <= some["low"] < 0.8 < some["high"] <= 1
    assert rank_agreement(trials([(0.1, 0.1)] * 9), {"c": 1.0}) is None
    assert rank_agreement(rising[:4], {"c": 1.0}) is None


def test_both_are_told_with_a_study_s_results() -> None:
    record = Checked("c", 64, ("q1", "q2", "q3", "q4"), 0.004).record()
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    row = {"name": FOUND, "score": score, "objectives": {"c": {"mishaps": ""}}}
    told = " ".join(
        verdicts(
            {
                "rows": [row],
                "winner": {"selection": 0.5, "confirm": 0.5},
                "test_reads": 1,
                "self_check": [record],
                "proxy": {"value": 0.8, "low": 0.6, "high": 0.9, "n": 40},
            }
        )
    )
    assert "of 64 examples that were scored again one by one" in told
    assert "4 came out differently (q1, q2, q3, ...); numbers differ by up to 0.004." in told
    assert "Over 40 candidates" in told
    assert "0.80 [0.60, 0.90]" in told
