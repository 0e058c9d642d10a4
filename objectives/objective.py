"""What every objective looks like: it asks and judges, or it runs the model itself."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from objectives.data import Example
from objectives.live_model import LiveModel
from objectives.records import Average, ExampleScore, Split
from objectives.request import Reply, Request


class Objective(Protocol):
    """Has a name and data, never a model; a `RequestObjective` or a `ModelObjective`."""

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


@runtime_checkable
class RequestObjective(Objective, Protocol):
    """Says what it wants to know of a model and judges what it is told; both are pure."""

    def requests(self, example: Example, /) -> tuple[Request, ...]:
        """What it wants to know of one example; asked once in a study, not once a candidate."""
        ...

    def judge(self, example: Example, replies: Sequence[Reply], /) -> ExampleScore:
        """The example's score from the replies to its requests, in their order."""
        ...


@runtime_checkable
class ModelObjective(Objective, Protocol):
    """Must run the live model itself, such as another library's evaluation."""

    def score(self, live: LiveModel, split: Split, /) -> Iterator[Sequence[ExampleScore]]:
        """Yield the scores of the split, batch by batch.

        Raises:
            ObjectiveError: a score is not finite; the example is named.
        """
        ...
