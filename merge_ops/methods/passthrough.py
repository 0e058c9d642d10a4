"""Passthrough: one model as it is, or scaled."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.traits import End, Traits


@merge_op(
    paper="mergekit's method guide: passthrough",
    needs_base=False,
    max_experts=1,
    traits=Traits(
        ends=(End("scale", 1.0, "expert"),),
        breaks={"fixed_base": "`scale` multiplies the model itself"},
    ),
)
def passthrough(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    scale: Annotated[Sequence[float], Knob(0.0, 2.0, per_expert=True)],
) -> Tensor:
    """Scale x theta_1.

    Args:
        base: gives only the dtype of the result.
        experts: one tensor of the base's shape.
        scale: one number; 1 leaves the model as it is.
    """
    return (experts[0].float() * scale[0]).to(base.dtype)
