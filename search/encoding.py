"""From a recipe back to a point of a search space: warm starts from other studies and models."""

from collections.abc import Sequence
from statistics import fmean

from merge_ops.layout import is_behind, layer_of
from merge_ops.recipe import Recipe
from merge_ops.registry import MergeOp, Value, get_op
from merge_ops.resolving import lookup, resolve
from search.coupling import from_experts
from search.dimension import Dimension
from search.modules import owner
from search.naming import METHOD, SEED, dimension_name
from search.space import SearchSpace


def encode(space: SearchSpace, recipe: Recipe) -> dict[str, Value]:
    """The point of `space` that comes nearest to a recipe.

    A value is the mean of what the recipe says for the tensors of its group, moved into the
    searched range; what the recipe does not say takes its default. Depth is relative, so a recipe
    of a model with another number of layers keeps its shape. Experts are paired by their models,
    or by their order where the models are others.

    Args:
        space: with the names of the merged tensors.
        recipe: in the terms of a tensor op.
    """
    point: dict[str, Value] = {d.name: d.default for d in space.dimensions()}
    methods = _methods(space, recipe)
    for name, values in space.lists().items():
        said = lookup(recipe.parameters.get(name), "", None, space.layers)
        value = {**methods, SEED: recipe.seed}.get(name, said)
        if value in values:
            point[name] = value
    ops = [get_op(name) for name in recipe.methods()]
    for knob in space.ranges:
        if any(knob in op.knobs for op in ops) and not space.knob(knob).whole:
            point |= _numbers(space, recipe, knob)
    known = {d.name: d for d in space.dimensions()}
    return {name: _moved(known[name], value) for name, value in point.items() if name in known}


def _methods(space: SearchSpace, recipe: Recipe) -> dict[str, Value]:
    """The method of the recipe, or of the first tensor of each group."""
    if not space.method_per_group:
        return {METHOD: recipe.method}
    found: dict[str, Value] = {}
    for index, name in enumerate(space.method_names()):
        place, part = divmod(index, len(space.modules))
        tensors = (n for n in space.names if _in_group(space, n, place, part))
        first = next(tensors, None)
        if first is not None:
            found[name] = recipe.method_at(first, layer_of(first))
    return found


def _moved(dimension: object, value: Value) -> Value:
    if isinstance(dimension, Dimension):
        return min(max(float(value), dimension.low), dimension.high)
    return value


def _numbers(space: SearchSpace, recipe: Recipe, knob: str) -> dict[str, Value]:
    """One knob's values in every group that holds tensors."""
    found: dict[str, Value] = {}
    groups = space.groups()
    for index, group in enumerate(groups):
        place, part = divmod(index, len(space.modules))
        names = [
            n
            for n in space.names
            if _in_group(space, n, place, part) and knob in _op(recipe, n).knobs
        ]
        if not names:
            continue
        columns = [_values(space, recipe, knob, name) for name in names]
        means = [_mean(column) for column in zip(*columns, strict=True)]
        owned: Sequence[float] | None = means
        if space.knob(knob).per_expert:
            coupled = space.ranges[knob].coupled
            mean = _mean(means)
            owned = from_experts(coupled, [mean] * len(means) if coupled == "shared" else means)
        if owned is not None:
            owners = space.owners(knob)
            found |= {
                dimension_name(knob, o, group): v for o, v in zip(owners, owned, strict=True)
            }
    return found


def _op(recipe: Recipe, name: str) -> MergeOp:
    return get_op(recipe.method_at(name, layer_of(name)))


def _mean(values: Sequence[float]) -> float:
    """Equal values are kept as they are, not rounded through their sum."""
    return values[0] if len(set(values)) == 1 else fmean(values)


def _in_group(space: SearchSpace, name: str, place: int, part: int) -> bool:
    """Whether a tensor of the layers belongs to a group: to its band, or to its control point."""
    if owner(space.modules, name) is not space.modules[part]:
        return False
    layer = layer_of(name)
    if layer is None:
        return space.depth.places == 1 and not is_behind(name)
    if space.depth.points:
        return layer == round(place * (space.layers - 1) / (space.depth.points - 1))
    return space.depth.band(layer) == place


def _values(space: SearchSpace, recipe: Recipe, knob: str, name: str) -> list[float]:
    """What a recipe says of one tensor, in the order of the space's experts."""
    op = _op(recipe, name)
    said = resolve(recipe, op, name, layer_of(name), space.layers).get(
        knob, op.knobs[knob].default
    )
    if not isinstance(said, list):
        return [float(said)]
    models = [recipe.models[i].model for i in recipe.experts(op)]
    own = [source.model for source in space.template.models]
    if set(own) <= set(models):
        return [said[models.index(model)] for model in own]
    return [*said, *([op.knobs[knob].default] * len(own))][: len(own)]
