"""Our figures on data released with arXiv:2502.13487, where a checkout has it at hand."""

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from objectives.best_of_n import BestOfN, best_of_n, mean_of_n
from objectives.categories import vl_rewardbench_category
from objectives.data import Example
from objectives.metric import get_metric

FOLDER = Path(
    os.environ.get("MERGETUNA_TEST_DATA") or Path(__file__).parents[1] / "../shared/data"
)


def released(name: str) -> Path:
    """A file of the released data, which the project does not contain."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"{name} is not in {FOLDER}; name its folder in MERGETUNA_TEST_DATA")
    return path


@cache
def textvqa() -> list[dict[str, Any]]:
    """5,000 questions with eight responses each."""
    lines = released("textvqa_best_of_8.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def figures(scores: list[list[float]]) -> BestOfN:
    return mean_of_n(
        [best_of_n(s, row["correctness"]) for s, row in zip(scores, textvqa(), strict=True)]
    )


def test_vl_rewardbench_ids_fall_into_the_published_categories() -> None:
    ids = released("vl_rewardbench_ids.txt").read_text().split()
    counts = Counter(vl_rewardbench_category(name) for name in ids)
    assert counts == {"hallucination": 749, "reasoning": 293, "general": 183}
    assert len(set(ids)) == 1225


def test_pass_at_1_is_of_the_first_response_and_pass_at_8_of_the_best() -> None:
    found = figures([[0.0] * 8 for _ in textvqa()])
    assert 100 * found.pass_at_1 == pytest.approx(48.148, abs=5e-4)
    assert 100 * found.pass_at_n == pytest.approx(79.836, abs=5e-4)
    assert 100 * found.random == pytest.approx(48.3235, abs=5e-5)
    assert found.picked == pytest.approx(found.random)  # a constant scorer earns nothing


def test_a_perfect_scorer_gets_pass_at_8_and_the_worst_the_least() -> None:
    right = [row["correctness"] for row in textvqa()]
    best = figures(right)
    worst = figures([[-value for value in row] for row in right])
    assert best.picked == pytest.approx(best.pass_at_n)
    assert worst.picked == pytest.approx(sum(map(min, right)) / len(right))


def test_our_vqa_accuracy_gives_every_released_correctness() -> None:
    metric, differing = get_metric("vqa_accuracy"), 0
    for row in textvqa():
        lists = {"answers": tuple(row["answers"])}
        example = Example(str(row["id"]), row["question"], (), {}, "all", lists)
        for response, value in zip(row["responses"], row["correctness"], strict=True):
            differing += abs(metric(response, example).value - value) > 1e-6
    assert differing == 0  # of 40,000
