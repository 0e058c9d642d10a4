"""Scores of a recipe by its digest: each is scored once, whole, and raced from what is known."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from merge_ops.recipe import Recipe
from objectives.blocks import Block, make_blocks
from objectives.objective import Objective
from objectives.records import ScoreSet, Split
from studies.evaluator import Evaluator, Scored


@dataclass(frozen=True, slots=True)
class ReplayedScores:
    """An evaluator of many searches over the same models.

    A block's scores do not depend on which blocks are scored (`tests/test_evaluation.py`), so a
    candidate is scored in one block, and the racer is told of its items in small ones: the items
    that a search would have scored are counted, and what a stopped candidate would have got is
    known as well.

    Attributes:
        own: scores what is not known yet.
        block: items that the racer is told at once.
    """

    own: Evaluator
    block: int
    _known: dict[tuple[str, str], tuple[ScoreSet, ...]] = field(default_factory=dict)
    _blocks: list[Block] = field(default_factory=list)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search maximises."""
        return self.own.objectives

    def digest(self, recipe: Recipe) -> str:
        """The recipe's digest."""
        return self.own.digest(recipe)

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        """What the search maximises."""
        return self.own.signal(sets)

    @property
    def folder(self) -> Path:
        """The study's."""
        return self.own.folder

    def aims(self, sets: Sequence[ScoreSet]) -> dict[str, float]:
        """What the search maximises at once."""
        return self.own.aims(sets)

    def sets(self, recipe: Recipe, split: Split) -> tuple[ScoreSet, ...]:
        """All scores on a split."""
        key = (self.own.digest(recipe), split)
        if key not in self._known:
            self._known[key] = self.own.score(recipe, split, why="benchmark").sets
        return self._known[key]

    def forget(self) -> None:
        """Drop all scores, for the memory's sake."""
        self._known.clear()

    def score(
        self,
        recipe: Recipe,
        split: Split,
        *,
        why: str = "",  # noqa: ARG002 (as `Evaluator.score`)
        objectives: Sequence[Objective] | None = None,  # noqa: ARG002
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None = None,
        parts: object = None,  # noqa: ARG002
    ) -> Scored:
        """As `Evaluator.score`."""
        whole = self.sets(recipe, split)
        blocks = self.blocks()
        seen: set[tuple[str, str]] = set()
        for block in blocks[:-1] if stops else ():
            assert stops is not None
            seen |= {(self.objectives[a.objective].name, a.example.id) for a in block.asks}
            part = tuple(_only(own, seen) for own in whole)
            if stops(block.index, part):
                return Scored(part, {})
        return Scored(whole, {})

    def blocks(self) -> list[Block]:
        """The selection split's, of the racer's size."""
        if not self._blocks:
            seed = self.own.engine.settings.seed
            self._blocks.extend(make_blocks(self.objectives, "selection", self.block, seed))
        return self._blocks


def _only(whole: ScoreSet, seen: set[tuple[str, str]]) -> ScoreSet:
    scores = tuple(score for score in whole.scores if (whole.objective, score.id) in seen)
    return ScoreSet(whole.objective, whole.average, whole.weight, scores)


def bits(sets: Sequence[ScoreSet]) -> str:
    """Right or wrong of every example, as one hexadecimal number with a leading 1."""
    values = [score.value for own in sets for score in own.scores]
    return f"{int('1' + ''.join(str(round(value)) for value in values), 2):x}"


def strata(sets: Sequence[ScoreSet]) -> dict[str, list[float]]:
    """The stratum of every example, and what one example of each stratum counts in the score."""
    total = sum(own.weight for own in sets)
    places: list[float] = []
    weights: list[float] = []
    for own in sets:
        sizes = Counter(score.category for score in own.scores)
        first = len(weights)
        for size in sizes.values():
            share = 1 / len(sizes) / size if own.average == "macro" else 1 / len(own.scores)
            weights.append(own.weight / total * share)
        order = list(sizes)
        places += [first + order.index(score.category) for score in own.scores]
    return {"strata": places, "weights": weights}
