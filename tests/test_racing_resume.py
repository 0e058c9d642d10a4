"""A search that races is the same search when it is killed and resumed, for every sampler."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from objectives.blocks import Ask, Block
from objectives.data import Example
from objectives.objective import Objective
from objectives.records import ExampleScore, ScoreSet, Split, combined
from search.dimension import Dimension, Point
from search.samplers import SAMPLERS, make_proposer
from search.space import SearchSpace
from studies.budget import Limits
from studies.evaluator import Evaluator, Scored
from studies.interruption import Interruption
from studies.ledger import SEARCH, Ledger
from studies.racing import Racer, is_whole
from studies.search_loop import SearchPlan, run_search

ITEMS, BLOCKS = 80, 8
DIMENSIONS = [Dimension(f"weight.{i}", 0.0, 1.5, 1.0) for i in range(4)]
EXAMPLES = [Example(f"e{i}", "", (), {}, "ab"[i % 2]) for i in range(ITEMS)]


@dataclass(frozen=True)
class Questions:
    """Eighty of two kinds."""

    name: str = "questions"
    average: str = "macro"
    weight: float = 1.0

    def examples(self, split: Split) -> Sequence[Example]:  # noqa: ARG002
        return EXAMPLES


@dataclass(frozen=True)
class Space:
    """A point is its own recipe."""

    def decode(self, values: Point) -> Point:
        return values


@dataclass(frozen=True)
class Answers:
    """Right where the item is easier than the point is far from the best."""

    folder: Path

    def aims(self, sets: Sequence[ScoreSet]) -> dict[str, float]:  # noqa: ARG002
        return {}

    def digest(self, recipe: Point) -> str:
        return str(sorted(recipe.items()))

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        return combined(sets)

    def score(
        self,
        recipe: Point,
        split: Split,  # noqa: ARG002
        *,
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None = None,
        parts: object = None,  # noqa: ARG002
    ) -> Scored:
        far = sum((float(value) - 0.5) ** 2 for value in recipe.values()) / 4
        hard = np.random.default_rng(0).random(ITEMS)
        scores = [
            ExampleScore(e.id, float(far < h), e.category)
            for e, h in zip(EXAMPLES, hard, strict=True)
        ]
        size = ITEMS // BLOCKS
        for block in range(BLOCKS - 1):
            part = ScoreSet("questions", "macro", 1.0, tuple(scores[: (block + 1) * size]))
            if stops and stops(block, (part,)):
                return Scored((part,), {})
        return Scored((ScoreSet("questions", "macro", 1.0, tuple(scores)),), {})


def search(folder: Path, sampler: str, trials: int) -> list[Any]:
    """Begin, or go on, with everything made anew; what every trial came to."""
    size = ITEMS // BLOCKS
    asks = [Ask(0, example, ()) for example in EXAMPLES]
    blocks = [Block("selection", i, tuple(asks[i * size : (i + 1) * size])) for i in range(BLOCKS)]
    racer = Racer([cast(Objective, Questions())], blocks, "test", alpha=0.1, top=3)
    proposer = make_proposer(sampler, DIMENSIONS, 3, 100)
    plan = SearchPlan(cast(SearchSpace, Space()), [], proposer, sampler, racer)
    ledger = Ledger(folder, SEARCH, DIMENSIONS)
    evaluator = cast(Evaluator, Answers(folder))
    run_search(plan, ledger, evaluator, Limits(trials, None), Interruption(), lambda _: None)
    return [(t.params, t.value, is_whole(t)) for t in ledger.trials]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "auto"])
def test_a_race_that_is_resumed_goes_on_as_if_it_had_not_been_killed(
    sampler: str, tmp_path: Path
) -> None:
    trials = 12 if sampler == "gp" else 30  # from the eleventh on its points take a second each
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = search(tmp_path / "whole", sampler, trials)
    for end in range(7, trials, 7):
        search(tmp_path / "broken", sampler, end)
    assert search(tmp_path / "broken", sampler, trials) == whole
    assert not all(finished for _, _, finished in whole)  # something was stopped
