"""What the name of a coordinate says: its knob, its expert, its place over depth, its part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Coordinate:
    """The parts of a name such as "weight.math.2.mlp"; what it has not is empty.

    Attributes:
        knob: or the name of a list of values.
        owner: whose value it is.
        place: over depth.
        module: part of a layer.
    """

    knob: str
    owner: str = ""
    place: int | None = None
    module: str = ""

    def group(self) -> str:
        """Knob and expert, wherever they act."""
        return " ".join(filter(None, (self.knob, self.owner)))


def parse(name: str, owners: Sequence[str] = ()) -> Coordinate:
    """The parts of a coordinate's name.

    Args:
        name: as `search.space.dimension_name` makes it.
        owners: names of the experts, if they are known: one may be a number.
    """
    knob, *rest = name.split(".")
    owner = ""
    if rest and (rest[0] in owners or not rest[0].isdigit()):
        owner, *rest = rest
    if rest and rest[0].isdigit():
        return Coordinate(knob, owner, int(rest[0]), ".".join(rest[1:]))
    return Coordinate(knob, owner, None, ".".join(rest))


def over_depth(
    params: Mapping[str, Any], owners: Sequence[str] = ()
) -> dict[str, dict[str, list[float]]]:
    """Values by knob, and by expert and part, one per place; what has one place alone too."""
    table: dict[str, dict[str, list[float]]] = {}
    for name, value in params.items():
        found = parse(name, owners)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            row = " ".join(filter(None, (found.owner, found.module))) or "all"
            table.setdefault(found.knob, {}).setdefault(row, []).append(float(value))
    return table
