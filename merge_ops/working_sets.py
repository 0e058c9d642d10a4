"""What is held for a while, beside all that lies there for good: items of the memory plan."""

from collections.abc import Collection

from merge_ops.opening import Opened
from merge_ops.plan import Item
from merge_ops.recipe import Recipe
from merge_ops.rewriting import find_method
from merge_ops.traits import FLOAT32


def solving(opened: Opened, recipe: Recipe, names: Collection[str], precise: int) -> Item:
    """The most that solving one of the matrices among `names` holds.

    Args:
        opened: the models.
        recipe: its methods, and how many experts they merge.
        names: canonical names of the tensors in question.
        precise: bytes of an entry of what is solved precisely.
    """
    most, whose = 0, recipe.method
    for tensor in opened.tensors:
        method = find_method(recipe.method_at(tensor.name, tensor.layer))
        shape = opened.own_shape(tensor.name)
        if method.traits.working is None or len(shape) != 2 or tensor.name not in names:
            continue
        rows, experts = opened.numels[tensor.name] // shape[1], len(recipe.experts(method))
        held = method.traits.working(rows, shape[1], experts, precise)
        most, whose = max((most, whose), (held, method.name))
    return Item(f"solving one tensor ({whose})", most)


def fisher_gradients(opened: Opened, names: Collection[str], itemsize: int) -> Item:
    """Gradients of all merged parameters, and the float32 sums of their squares.

    Beside them, two float32 copies of the largest parameter while its gradient is squared. What
    the passes themselves keep for the gradients is not counted: it depends on the examples.
    """
    numels = [opened.own_shape(name).numel() for name in names]
    size = sum(numels) * (itemsize + FLOAT32) + 2 * FLOAT32 * max(numels, default=0)
    return Item("gradients and Fisher diagonals", size)
