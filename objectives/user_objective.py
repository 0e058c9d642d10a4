"""A user's own objective: a function that is called with the live model and examples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.records import Average, ExampleScore, Split

Scorer = Callable[[LiveModel, Sequence[Example]], Any]
"""`(live, examples) -> {id: score in [0, 1]}`, with a score for every example."""


@dataclass(frozen=True, slots=True)
class UserObjective:
    """Mean of the scores that a function gives.

    Attributes:
        data: the examples of each split.
        function: gives the scores; it may run the live model but must not change it.
        path: `module:function`, for messages.
        image: hand over the examples' images.
    """

    name: str
    data: Mapping[Split, Sequence[Example]]
    function: Scorer
    path: str
    average: Average = "micro"
    weight: float = 1.0
    image: bool = True

    def examples(self, split: Split) -> Sequence[Example]:
        """The examples of one split, in their fixed order."""
        return self.data[split]

    def score(self, live: LiveModel, split: Split) -> Iterator[Sequence[ExampleScore]]:
        """The function's scores of the whole split.

        Raises:
            ObjectiveError: the function failed, or an example has no score in [0, 1].
        """
        examples = self.data[split]
        shown = examples if self.image else [replace(example, images=()) for example in examples]
        try:
            found = self.function(live, shown)
        except ObjectiveError:
            raise
        except Exception as error:  # a user's function may raise anything
            raise ObjectiveError(
                f"{self.name}: {self.path} failed on {split}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, Mapping):
            raise ObjectiveError(
                f"{self.name}: {self.path} must give a mapping from example ids to scores in "
                f"[0, 1], but gave a {type(found).__name__}."
            )
        yield [self._score(example, found) for example in examples]

    def _score(self, example: Example, found: Mapping[str, Any]) -> ExampleScore:
        value = found.get(example.id)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = float("nan")
        if not isfinite(number) or not 0 <= number <= 1:
            raise ObjectiveError(
                f"{self.name}: {self.path} must score every example in [0, 1], but gave {value!r} "
                f"for {example.id}."
            )
        return ExampleScore(example.id, number, example.category)
