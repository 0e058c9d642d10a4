"""What one coordinate of a search is: a number in an interval, or one of a few listed values."""

from collections.abc import Mapping
from dataclasses import dataclass

from merge_ops.errors import UserError
from merge_ops.registry import Value

Point = Mapping[str, Value]
"""One value per coordinate, by its name."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number that is searched.

    Attributes:
        name: such as "weight.math.2.mlp": knob, expert, band, half.
        low: smallest value.
        high: largest value.
        default: where a search without any knowledge begins.
        log: it is searched on a logarithmic scale.
        place: where over depth it acts, counted from the first band or control point.
    """

    name: str
    low: float
    high: float
    default: float
    log: bool = False
    place: int = 0

    def __post_init__(self) -> None:
        if self.log and self.low <= 0:
            raise UserError(
                f"{self.name}: a logarithmic scale begins above 0, but its range is "
                f"[{self.low:g}, {self.high:g}]."
            )

    def ends(self) -> tuple[float, float]:
        """The first and the last value."""
        return self.low, self.high

    def holds(self, value: Value) -> bool:
        """Whether it may take the value."""
        return self.low <= float(value) <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values, for the whole recipe.

    Attributes:
        name: of a knob or an option.
        values: in the order of the study file, all different.
        default: the one of them where a search without any knowledge begins.
        ordered: False for numbers that are only names, such as seeds.
    """

    name: str
    values: tuple[Value, ...]
    default: Value
    ordered: bool = True

    def ends(self) -> tuple[Value, Value]:
        """The first and the last value in order."""
        ranked = self.ranked() or self.values
        return ranked[0], ranked[-1]

    def holds(self, value: Value) -> bool:
        """Whether it may take the value."""
        return value in self.values

    def ranked(self) -> tuple[Value, ...] | None:
        """The values in an order in which neighbours are alike, or None where there is none.

        Numbers have one; two values of any kind have only one. Three or more texts have none, and
        a made-up one would show a sampler slopes that are not there.
        """
        if self.ordered and all(isinstance(value, int | float) for value in self.values):
            return tuple(sorted(self.values, key=float))
        return self.values if len(self.values) == 2 else None


Coordinate = Dimension | Choice
