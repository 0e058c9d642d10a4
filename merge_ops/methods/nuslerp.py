"""NuSLERP: spherical interpolation of two models, or of their task vectors."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.knobs import Shares
from merge_ops.registry import merge_op
from merge_ops.spherical import arc
from merge_ops.traits import Traits

_STRAIGHT = 1 - 5e-7  # closer to 1, float32 cannot tell an arc from a line


@merge_op(
    paper="mergekit's method guide: NuSLERP",
    needs_base=False,
    min_experts=2,
    max_experts=2,
    traits=Traits(base_switch="task_vectors"),
)
def nuslerp(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    nuslerp_flatten: bool = True,
    nuslerp_row_wise: bool = False,
    task_vectors: bool = False,
) -> Tensor:
    """The point at t = w_2 / (w_1 + w_2) of the arc between two tensors.

    In a recipe the two models are the experts; naming a base_model turns `task_vectors` on, and
    the base is then no expert.

    Args:
        base: theta_0; without `task_vectors` it gives only the dtype of the result.
        experts: two tensors of the base's shape.
        weight: w_1 and w_2; where they cancel, t is 1/2.
        nuslerp_flatten: take each tensor as one vector.
        nuslerp_row_wise: without `nuslerp_flatten`, vectors lie along the last dimension, or,
            if this is on, along the first (mergekit's names suggest the opposite).
        task_vectors: turn the task vectors rather than the weights, and add the base.
    """
    first, second = [(e - base if task_vectors else e).float() for e in experts]
    total = sum(weight)
    t = weight[1] / total if abs(total) >= 1e-6 else 0.5
    if nuslerp_flatten:
        turned = arc(first.flatten(), second.flatten(), t, _STRAIGHT).view(base.shape)
    else:
        turned = arc(first, second, t, _STRAIGHT, dim=0 if nuslerp_row_wise else -1)
    return (base.float() + turned if task_vectors else turned).to(base.dtype)
