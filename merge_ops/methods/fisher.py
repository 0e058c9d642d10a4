"""Fisher merging: an average in which each expert's sensitive entries count more."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.knobs import Shares
from merge_ops.registry import merge_op
from merge_ops.task_vectors import average, check_shares
from merge_ops.traits import Traits


@merge_op(
    paper="Matena and Raffel, Merging models with Fisher-weighted averaging, arXiv:2111.09832",
    needs_base=False,
    traits=Traits(statistics="fishers"),
)
def fisher(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Shares,
    fishers: Sequence[Tensor] = (),
) -> Tensor:
    """Sum w_i F_i theta_i / sum w_i F_i, entry by entry; the mean by w_i where no F_i is above 0.

    Args:
        base: gives only the dtype of the result.
        experts: theta_i, each of the base's shape.
        weight: w_i, the paper's lambda_i.
        fishers: F_i >= 0, the diagonal of each expert's Fisher matrix in the shape of the base;
            none for a parameter without statistics, which takes the mean.

    Raises:
        UserError: Fisher diagonals that do not fit the experts, a weight below 0, or all 0.
    """
    check_shares("fisher", weight)
    middle = average([expert.float() for expert in experts], weight)
    if len(fishers) == 0:
        return middle.to(base.dtype)
    shapes = [tuple(f.shape) for f in fishers]
    if len(fishers) != len(experts) or set(shapes) != {tuple(base.shape)}:
        raise UserError(
            f"fisher needs one tensor of the weight's shape {tuple(base.shape)} per expert "
            f"({len(experts)}), but got shapes {shapes}."
        )
    total, moved = torch.zeros_like(middle), torch.zeros_like(middle)
    for expert, diagonal, share in zip(experts, fishers, weight, strict=True):
        total += share * diagonal
        moved += share * diagonal * (expert.float() - middle)
    return (middle + moved / torch.where(total > 0, total, 1.0)).to(base.dtype)
