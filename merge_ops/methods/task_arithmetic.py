"""Task arithmetic: the base plus weighted task vectors."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.formula import Facts, Formula
from merge_ops.knobs import Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, scaled, task_vectors, weighted_sum
from merge_ops.traits import Traits


def _formula(
    facts: Facts,  # noqa: ARG001
    *,
    weight: Sequence[float],
    lambda_: float = 1.0,
    normalize: bool = False,
) -> Formula:
    return Formula(scaled(weight, normalize=normalize, scale=lambda_))


@merge_op(
    paper="Ilharco et al., Editing models with task arithmetic, arXiv:2212.04089",
    traits=Traits(scale="lambda", operands="task_vectors", formula=_formula),
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
    weights = scaled(weight, normalize=normalize, scale=lambda_)
    return add_scaled(base, weighted_sum(task_vectors(base, experts), weights), 1.0)
