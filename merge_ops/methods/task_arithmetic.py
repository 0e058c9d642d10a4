"""Task arithmetic: the base plus weighted task vectors."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.knobs import Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, task_vectors, weighted_sum
from merge_ops.traits import Traits


@merge_op(
    paper="Ilharco et al., Editing models with task arithmetic, arXiv:2212.04089",
    traits=Traits(scale="lambda"),
)
def task_arithmetic(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Weights,
    lambda_: Scale = 1.0,
    normalize: bool = False,
) -> Tensor:
    """theta_0 + lambda sum w_i tau_i.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        weight: w_i, one per expert.
        lambda_: scale of the sum.
        normalize: divide the sum by sum w_i.
    """
    change = weighted_sum(task_vectors(base, experts), weight, normalize=normalize)
    return add_scaled(base, change, lambda_)
