"""What a recipe says about one tensor: settings looked up by name and depth."""

from merge_ops.errors import UserError
from merge_ops.recipe import Gradient, Recipe, Setting
from merge_ops.registry import MergeOp, Value


def at_depth(value: Value | Gradient, layer: int | None, layers: int) -> Value:
    """The value for one layer: a gradient is interpolated linearly over depth.

    Layer l of L lies at t = l/(L-1); tensors outside the layers (`layer` None) lie at t = 0. A
    gradient of exactly L entries therefore gives one value per layer. A single layer lies at
    t = 1, as in mergekit.
    """
    if layer is None:
        return interpolate(value, 0.0)
    return interpolate(value, layer / (layers - 1) if layers > 1 else 1.0)


def interpolate(value: Value | Gradient, t: float) -> Value:
    """The value at t, from 0 to 1 along the gradient; a single value holds everywhere."""
    if not isinstance(value, tuple):
        return value
    position = t * (len(value) - 1)
    nearest = round(position)
    if abs(position - nearest) < 1e-9:  # the entry itself, not a sum that rounds to it
        return value[nearest]
    low = int(position)
    share = position - low
    return (1 - share) * value[low] + share * value[low + 1]


def lookup(setting: Setting | None, name: str, layer: int | None, layers: int) -> Value | None:
    """The value that a setting gives to one tensor, or None where no entry matches."""
    for entry in setting or ():
        if entry.filter is None or entry.filter in name:
            return at_depth(entry.value, layer, layers)
    return None


def resolve(
    recipe: Recipe, op: MergeOp, name: str, layer: int | None, layers: int
) -> dict[str, Value | list[float]]:
    """All parameters of the method for one tensor: one number per expert for per-expert knobs.

    A model's own setting comes first, then the top-level one, then the method's default (left
    out here for switches and knobs that have one value for all).
    """
    if recipe.slices:
        raise UserError(f"{recipe.method} in slices must be lowered before it is merged.")
    values: dict[str, Value | list[float]] = {}
    for key in op.parameters():
        common = lookup(recipe.parameters.get(key), name, layer, layers)
        knob = op.knobs.get(key)
        if knob is None or not knob.per_expert:
            if common is not None:
                values[key] = common
            continue
        fallback = knob.default if common is None else common
        own = [
            lookup(recipe.models[i].parameters.get(key), name, layer, layers)
            for i in recipe.experts(op)
        ]
        values[key] = [float(fallback if value is None else value) for value in own]
    if op.traits.base_switch and recipe.task_base(op):
        values[op.traits.base_switch] = True
    return values
