"""SLERP: along the great circle from the base to one expert."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from merge_ops.formula import Facts, Formula
from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.spherical import arc, arc_numbers
from merge_ops.traits import End, Traits

_STRAIGHT = 0.9995


def _formula(facts: Facts, *, t: float = 0.5) -> Formula:
    return Formula(arc_numbers(facts.cosine(), t, _STRAIGHT), from_base=True)


@merge_op(
    paper="Shoemake, Animating rotation with quaternion curves, doi:10.1145/325334.325242",
    max_experts=1,
    traits=Traits(formula=_formula, ends=(End("t", 0.0, "base"), End("t", 1.0, "expert"))),
)
def slerp(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    t: Annotated[float, Knob(0.0, 1.0, default=0.5)] = 0.5,
) -> Tensor:
    """[sin((1-t) Omega) theta_0 + sin(t Omega) theta_1] / sin Omega, Omega between flat tensors.

    The directions may have any norm; a straight line where |cos Omega| > 0.9995.

    In a recipe the base is the end at t = 0, wherever it stands in the list, and the other model
    the end at t = 1.

    Args:
        base: the end at t = 0.
        experts: one tensor of the base's shape, the end at t = 1.
        t: place on the arc.
    """
    a, b = base.float().flatten(), experts[0].float().flatten()
    return arc(a, b, t, straight=_STRAIGHT).view(base.shape).to(base.dtype)
