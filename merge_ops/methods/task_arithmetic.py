"""Task arithmetic: the base plus weighted task vectors."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor

from merge_ops.registry import Knob, merge_op
from merge_ops.task_vectors import add_scaled, task_vectors, weighted_sum


@merge_op(paper="Ilharco et al., Editing models with task arithmetic, arXiv:2212.04089")
def task_arithmetic(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Annotated[Sequence[float], Knob(-1.0, 2.0, per_expert=True)],
    lambda_: Annotated[float, Knob(0.0, 2.0)] = 1.0,
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
