"""RegMean: the weights whose outputs on every expert's own inputs are closest to its own."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.knobs import Knob, Shares
from merge_ops.registry import merge_op
from merge_ops.spectral import precise
from merge_ops.task_vectors import average, check_shares
from merge_ops.traits import Traits

_RIDGE = 1e-10  # of the mean diagonal: far below what float32 statistics can tell


@merge_op(
    paper="Jin et al., Dataless knowledge fusion by merging weights, arXiv:2212.09849",
    needs_base=False,
    traits=Traits(statistics="grams"),
)
def regmean(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    grams: Sequence[Tensor] = (),
    a: Annotated[float, Knob(0.0, 1.0, default=0.9)] = 0.9,
) -> Tensor:
    """(sum W_i G_i) (sum G_i)^-1 for weights (out, in), G_i = X_i^T X_i with damped off-diagonals.

    Computed as mean(W) + (sum (W_i - mean) G_i) (sum G_i)^-1, the same where the sum can be
    inverted; along directions that no input has, the mean stays. An expert's weight multiplies
    its G_i (its share of the regression loss) and its part in the mean.

    Args:
        base: gives only the dtype of the result.
        experts: W_i, each of the base's shape.
        weight: of each expert's loss; all 1 in the paper.
        grams: G_i, one (in, in) per expert; none for a parameter without inputs (a vector, an
            embedding), which takes the mean.
        a: factor of the off-diagonal entries.

    Raises:
        UserError: Gram matrices that do not fit the weights, a weight below 0, or all of them 0.
    """
    check_shares("regmean", weight)
    if len(grams) == 0:
        middle = average([expert.float() for expert in experts], weight)
        return middle.to(base.dtype)
    _check(base, len(experts), grams)
    center = average([precise(expert) for expert in experts], weight)
    total = grams[0].new_zeros(grams[0].shape, dtype=center.dtype)
    moved = torch.zeros_like(center)
    for expert, gram, share in zip(experts, grams, weight, strict=True):
        exact = share * precise(gram)
        damped = a * exact + (1 - a) * torch.diag(exact.diagonal())  # the paper's alpha
        total += damped
        moved += (precise(expert) - center) @ damped
    total.diagonal().add_(_RIDGE * total.diagonal().mean() + torch.finfo(total.dtype).tiny)
    factor = torch.linalg.cholesky_ex(
        total
    ).L  # without the check, which would wait for the device
    return (center + torch.cholesky_solve(moved.T, factor).T).to(base.dtype)


def _check(base: Tensor, experts: int, grams: Sequence[Tensor]) -> None:
    shapes = [tuple(gram.shape) for gram in grams]
    if base.dim() != 2 or len(grams) != experts or set(shapes) != {(base.shape[1],) * 2}:
        raise UserError(
            "regmean needs one (in, in) Gram matrix per expert for a weight (out, in), but the "
            f"weight has shape {tuple(base.shape)}, there are {experts} experts, and the Gram "
            f"matrices have shapes {shapes}."
        )
