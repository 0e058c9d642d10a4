"""A search space with neighbouring bands tied together: one value for each run of them."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from merge_ops.registry import Value
from search.depth import Depth
from search.dimension import Coordinate, Point
from search.naming import METHOD, dimension_name
from search.space import SearchSpace


@dataclass(frozen=True, slots=True)
class Tied:
    """Coordinates of a search space, some of which take one value together.

    Attributes:
        columns: which coordinates those are; the first stands for all of them.
    """

    columns: tuple[tuple[Coordinate, ...], ...]

    @property
    def dimensions(self) -> list[Coordinate]:
        """What is searched."""
        return [column[0] for column in self.columns]

    def spread(self, values: Point) -> dict[str, Value]:
        """The point of the whole space: every coordinate takes the value of its first."""
        return {d.name: values[column[0].name] for column in self.columns for d in column}

    def gather(self, point: Point) -> dict[str, Value] | None:
        """The values that `spread` to a point, or None where tied ones differ in it."""
        if any(point[d.name] != point[column[0].name] for column in self.columns for d in column):
            return None
        return {column[0].name: point[column[0].name] for column in self.columns}

    def trial(self, trial: FrozenTrial, attributes: Mapping[str, object]) -> FrozenTrial | None:
        """A trial of the whole space as one of this search, or None where it is none of it."""
        values = self.gather(trial.params)
        if values is None:
            return None
        own = copy(trial)
        own.distributions = {name: trial.distributions[name] for name in values}
        own.params = values
        own.user_attrs = dict(attributes)
        return own

    def moved(self, point: Point, other: Point, columns: Sequence[int]) -> dict[str, Value]:
        """A point with another's values in some columns."""
        names = {d.name for i in columns for d in self.columns[i]}
        return {name: other[name] if name in names else value for name, value in point.items()}


def tied(space: SearchSpace, runs: Depth) -> Tied:
    """Tie the bands of a space.

    Args:
        space: with bands.
        runs: over the bands: which neighbours take one value. Its "layers" are bands.
    """
    places = _places(space)
    columns: dict[tuple[str, ...], list[Coordinate]] = {}
    for dimension in space.dimensions():
        own, place = places.get(dimension.name, ((dimension.name,), 0))
        run = str(runs.band(place)) if dimension.name in places else ""
        columns.setdefault((*own, run), []).append(dimension)
    return Tied(tuple(map(tuple, columns.values())))


def columns_of(space: SearchSpace, one: Tied, bands: range) -> list[int]:
    """Indices of the columns that act in some bands."""
    places = _places(space)
    return [
        i
        for i, column in enumerate(one.columns)
        if any(d.name in places and places[d.name][1] in bands for d in column)
    ]


def _places(space: SearchSpace) -> dict[str, tuple[tuple[str, ...], int]]:
    """Knob, owner and part of a layer of every coordinate that has a band, and its band."""
    parts = len(space.modules)
    owned = [
        (knob, one)
        for knob in space.ranges
        if not space.knob(knob).whole
        for one in space.owners(knob)
    ]
    if space.method_per_group:
        owned.append((METHOD, ""))
    return {
        dimension_name(knob, one, group): ((knob, one, space.modules[i % parts].name), i // parts)
        for knob, one in owned
        for i, group in enumerate(space.groups())
    }
