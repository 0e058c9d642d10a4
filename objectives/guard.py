"""Guards: a floor under a score, decided on an interval and not on the point estimate."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from objectives.errors import ObjectiveError
from objectives.records import ScoreSet
from objectives.statistics import Interval, interval, paired_difference

Standing = Literal["holds", "violated", "undecided"]

_RELATIVE = re.compile(r"parent\s*(?:([-+])\s*(\d+(?:\.\d*)?|\.\d+))?")


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that a score may be.

    Attributes:
        value: the score itself, or what is added to the parent's.
        of_parent: whether it is relative to the parent.
    """

    value: float
    of_parent: bool

    def __str__(self) -> str:
        if not self.of_parent:
            return f"{self.value:g}"
        return f"parent {'-' if self.value < 0 else '+'} {abs(self.value):g}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a floor is kept.

    Attributes:
        standing: "holds" if the whole 95 % interval lies on or above the floor, "violated" if it
            lies below, else "undecided": there are too few examples to tell.
        constraint: how far the interval's lower end lies below the floor; feasible if <= 0, as
            Optuna reads constraints, so that only what holds is feasible.
        interval: of the score minus the parent's on the same examples, or of the score itself.
    """

    standing: Standing
    constraint: float
    interval: Interval


def read_floor(text: str | float) -> Floor:
    """A floor such as `parent - 0.02`, `parent` or `0.6`, in shares and not in points.

    Raises:
        ObjectiveError: it is none of these, or cannot be a share.
    """
    if not isinstance(text, str):
        floor = Floor(float(text), of_parent=False)
    else:
        match = _RELATIVE.fullmatch(text.strip())
        if not match:
            raise ObjectiveError(
                f"a guard's floor must be `parent - 0.02` or a number in [0, 1], but is {text!r}."
            )
        sign, size = match.groups()
        floor = Floor(float(size or 0) * (-1 if sign == "-" else 1), of_parent=True)
    if not (-1 if floor.of_parent else 0) <= floor.value <= 1:
        raise ObjectiveError(
            f"a guard's floor is a share (2 points are 0.02), but {text} can never be one."
        )
    return floor


def decide(floor: Floor, ours: Sequence[ScoreSet], parent: Sequence[ScoreSet]) -> Decision:
    """Whether our scores keep the floor; the parent's must be of the same examples.

    Raises:
        ValueError: the two hold different objectives or examples.
    """
    found = paired_difference(ours, parent) if floor.of_parent else interval(ours)
    constraint = floor.value - found.low
    if constraint <= 0:
        standing: Standing = "holds"
    else:
        standing = "violated" if found.high < floor.value else "undecided"
    return Decision(standing, constraint, found)
