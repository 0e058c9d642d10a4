"""Points of a search space that are known before a search begins."""

from collections.abc import Mapping, Sequence
from itertools import product

from merge_ops.recipe import Recipe
from merge_ops.registry import Value
from search.coupling import from_experts
from search.dimension import Dimension
from search.naming import METHOD
from search.space import SearchSpace


def uniform(
    space: SearchSpace, weights: Sequence[float], others: Mapping[str, float]
) -> dict[str, Value] | None:
    """The point with one weight per expert at every depth, or None if the space has none.

    Args:
        space: what is searched.
        weights: of each expert, moved into the searched range.
        others: values of other searched knobs; those not named take their defaults, and so
            does every choice.
    """
    own: dict[str, float] = {}
    if "weight" in space.ranges:
        found = from_experts(space.ranges["weight"].coupled, weights)
        if found is None:
            return None
        own = dict(zip(space.owners("weight"), found, strict=True))
    point: dict[str, Value] = {}
    for dimension in space.dimensions():
        point[dimension.name] = dimension.default
        if isinstance(dimension, Dimension):
            knob, _, rest = dimension.name.partition(".")
            value = others.get(knob, dimension.default)
            if knob == "weight":
                value = own[rest.partition(".")[0] if "" not in own else ""]
            point[dimension.name] = min(max(value, dimension.low), dimension.high)
    return point


def solutions(space: SearchSpace) -> list[Recipe]:
    """One recipe for each task vector that a method has to solve; none if it solves none.

    Those are the combinations of the choices; the scale is free, and so left out.
    """
    start: dict[str, Value] = {d.name: d.default for d in space.dimensions()}
    found = []
    for op in space.methods():
        if not op.traits.solve:
            continue
        listed = dict(space.choices)
        if METHOD in listed:
            listed[METHOD] = (op.name,)
        lists = [
            [(name, value) for value in values]
            for name, values in listed.items()
            if name != op.traits.scale and (name == METHOD or name in op.parameters())
        ]
        for some in product(*lists):
            point = {**start, **dict(some)}
            found.append(space.decode(space.with_method(point, op.name)))
    return found
