"""Searched values that change nothing: found before a search, by trying them on small tensors."""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from merge_ops.layout import layer_of
from merge_ops.recipe import Recipe
from merge_ops.registry import MergeOp, Value, get_op
from merge_ops.resolving import resolve
from search.dimension import Dimension, Point
from search.naming import METHOD
from search.proposer import unit_to_value
from search.space import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

Resolved = Mapping[str, Value | list[float]]
"""Everything that a recipe says of one tensor."""

_POINTS = 4  # a value that changes nothing at four random points has no effect
_SIZE = 12  # rows and columns of the tensors that are tried
_SOME = 2  # tensors on which a changed setting is tried


def degenerate(space: SearchSpace, seed: int = 0) -> list[str]:
    """What of a search space has no effect, in words; empty where all of it counts.

    Random points are moved along one dimension after the other, and all weights at once are
    scaled; the merged tensors must change. Methods whose tensors are solved or that take
    statistics are not tried.

    Args:
        space: with the names of the merged tensors.
        seed: of the points.
    """
    ops = space.methods()
    if not space.names or any(op.traits.solve or op.traits.statistics for op in ops):
        return []
    points = _points(space, random.Random(seed))
    found = [
        f"{dimension.name} has no effect; freeze it or leave it out"
        for dimension in space.dimensions()
        if not any(
            _differ(space, point, {**point, dimension.name: end})
            for point in points
            for end in dimension.ends()
        )
    ]
    if not found and _scaling_is_void(space, points):
        found = [
            "only the ratios of the weights count (they are normalised), so one direction of "
            "every group has no effect; search them as `weight: {coupled: simplex}`"
        ]
    return found


def _points(space: SearchSpace, chance: random.Random) -> list[dict[str, Value]]:
    """Random points; the first listed value of a choice stands in the first of them, and so on."""
    return [
        {
            d.name: unit_to_value(d, 0.1 + 0.8 * chance.random())
            if isinstance(d, Dimension)
            else d.values[i % len(d.values)]
            for d in space.dimensions()
        }
        for i in range(_POINTS)
    ]


def _scaling_is_void(space: SearchSpace, points: Sequence[Point]) -> bool:
    """Whether all weights of several experts may be halved without any change."""
    span = space.ranges.get("weight")
    if span is None or span.coupled == "simplex" or len(space.labels) < 2:
        return False
    halved = [
        {n: v / 2 if n.startswith("weight.") and isinstance(v, float) else v for n, v in p.items()}
        for p in points
    ]
    pairs = zip(points, halved, strict=True)
    return not any(_differ(space, before, after) for before, after in pairs)


def _differ(space: SearchSpace, before: Point, after: Point) -> bool:
    """Whether two points merge some tensor differently."""
    first, second = space.decode(before), space.decode(after)
    if first.method != second.method and not space.method_per_group:
        return before.get(METHOD) != after.get(METHOD)
    drawn = first.seed != second.seed  # a method that draws nothing has one seed
    changed = [
        name
        for name in space.names
        if drawn or _settings(first, name, space.layers) != _settings(second, name, space.layers)
    ]
    return any(
        not bool((_merged(first, name, space) == _merged(second, name, space)).all())
        for name in changed[:: max(1, len(changed) // _SOME)][:_SOME]
    )


def _settings(recipe: Recipe, name: str, layers: int) -> Resolved:
    op = _op(recipe, name)
    return {"": op.name, **resolve(recipe, op, name, layer_of(name), layers)}


def _op(recipe: Recipe, name: str) -> MergeOp:
    return get_op(recipe.method_at(name, layer_of(name)))


def _merged(recipe: Recipe, name: str, space: SearchSpace) -> "Tensor":
    """A small random tensor of that name, merged; rounded: arithmetic noise is no effect."""
    import torch

    from merge_ops.tensor_merge import merge_tensor

    op = _op(recipe, name)
    made = torch.Generator().manual_seed(0)
    base, *experts = (
        torch.randn(_SIZE, _SIZE, generator=made) for _ in range(1 + len(recipe.experts(op)))
    )
    values = dict(resolve(recipe, op, name, layer_of(name), space.layers))
    if op.random:
        values |= {"seed": recipe.seed, "name": name}
    experts = [base + 0.1 * expert for expert in experts]
    return merge_tensor(op.name, base, experts, **values).double().round(decimals=5)
