"""Scores of single examples, and the figures made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

from objectives.errors import ObjectiveError

Split = Literal["selection", "confirm", "test"]
SPLITS: tuple[Split, ...] = ("selection", "confirm", "test")
Average = Literal["micro", "macro"]
"""micro: the mean over examples; macro: the mean over categories of the mean in each."""


@dataclass(frozen=True, slots=True)
class ExampleScore:
    """What one example got.

    Attributes:
        id: the example's, unique within its objective.
        value: in [0, 1], higher is better.
        category: as in the data.
        flags: what must be counted and reported, such as "unparsed" or "truncated".
        margin: how clearly it was right or wrong, in the objective's own unit; None if there is no
            such thing. A smooth twin of the objective is made of it.
    """

    id: str
    value: float
    category: str
    flags: tuple[str, ...] = ()
    margin: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """By its constructor: field by field, as frozen slots are, takes three times as long."""
        return ExampleScore, (self.id, self.value, self.category, self.flags, self.margin)


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """All examples of one objective on one split.

    Attributes:
        objective: its name.
        average: how examples become one figure.
        weight: of this objective among several; 0 for a guard that does not count.
        scores: in the order of the data.
    """

    objective: str
    average: Average
    weight: float
    scores: tuple[ExampleScore, ...]

    def only(self, category: str) -> "ScoreSet":
        """The examples of one category."""
        return replace(self, scores=tuple(s for s in self.scores if s.category == category))

    def by_category(self) -> dict[str, float]:
        """Mean per category, sorted by name."""
        groups: dict[str, list[float]] = {}
        for score in self.scores:
            groups.setdefault(score.category, []).append(score.value)
        return {name: sum(values) / len(values) for name, values in sorted(groups.items())}

    def micro(self) -> float:
        """Mean over examples."""
        return sum(score.value for score in self.scores) / len(self.scores)

    def macro(self) -> float:
        """Mean over categories."""
        means = self.by_category().values()
        return sum(means) / len(means)

    def value(self) -> float:
        """The figure that the objective stands for."""
        return self.micro() if self.average == "micro" else self.macro()


def check_finite(sets: Iterable[ScoreSet]) -> None:
    """Refuse scores that are no numbers: no mean and no sampler could use them.

    Raises:
        ObjectiveError: one is NaN or infinite; it is named.
    """
    for one in sets:
        for score in one.scores:
            if not isfinite(score.value):
                raise ObjectiveError(
                    f"{one.objective}: scores must be finite, but example {score.id!r} got "
                    f"{score.value}"
                )


def counting(sets: Sequence[ScoreSet]) -> list[ScoreSet]:
    """Those that count in a combined score; where none has a weight, all of them, equally."""
    return [s for s in sets if s.weight > 0] or [replace(s, weight=1.0) for s in sets]


def combined(sets: Sequence[ScoreSet]) -> float:
    """Weighted mean over the objectives that count, the weights divided by their sum."""
    own = counting(sets)
    return sum(s.weight * s.value() for s in own) / sum(s.weight for s in own)


def figures(sets: Iterable[ScoreSet]) -> dict[str, float]:
    """Flat figures for a tracker: `name`, and `name/category` for every category."""
    named: dict[str, float] = {}
    for scores in sets:
        named[scores.objective] = scores.value()
        parts: Mapping[str, float] = scores.by_category()
        named |= {f"{scores.objective}/{category}": v for category, v in parts.items()}
    return named
