"""What every objective looks like."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from objectives.data import Example
from objectives.live_model import LiveModel
from objectives.records import Average, ExampleScore, ScoreSet, Split


class Objective(Protocol):
    """Scores a model example by example; holds its data, never the model."""

    @property
    def name(self) -> str:
        """Under which ledger, tracker and reports keep its figures."""
        ...

    @property
    def average(self) -> Average:
        """How its examples become one figure."""
        ...

    @property
    def weight(self) -> float:
        """Its share among several objectives."""
        ...

    def examples(self, split: Split, /) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        ...

    def score(self, live: LiveModel, split: Split, /) -> Iterator[Sequence[ExampleScore]]:
        """Yield the scores batch by batch, so that a caller may stop early.

        Raises:
            ObjectiveError: a score is not finite; the example is named.
        """
        ...


def score_all(objective: Objective, live: LiveModel, split: Split) -> ScoreSet:
    """Score every example of a split."""
    scores = tuple(score for batch in objective.score(live, split) for score in batch)
    return ScoreSet(objective.name, objective.average, objective.weight, scores)
