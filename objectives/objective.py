"""What every objective looks like."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from objectives.data import Example
from objectives.live_model import LiveModel
from objectives.records import Average, ExampleScore, ScoreSet, Split
from objectives.request import Reply, Request


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


@runtime_checkable
class RequestObjective(Protocol):
    """Says what it wants to know of a model and judges what it is told; both are pure.

    Beside what stands here it has the name, average, weight and examples of every objective.
    """

    def requests(self, example: Example, /) -> tuple[Request, ...]:
        """What it wants to know for one example; asked once in a study, not once a candidate."""
        ...

    def judge(self, example: Example, replies: Sequence[Reply], /) -> ExampleScore:
        """The example's score from the replies to its requests, in their order."""
        ...


def score_all(objective: Objective, live: LiveModel, split: Split) -> ScoreSet:
    """Score every example of a split."""
    scores = tuple(score for batch in objective.score(live, split) for score in batch)
    return ScoreSet(objective.name, objective.average, objective.weight, scores)
