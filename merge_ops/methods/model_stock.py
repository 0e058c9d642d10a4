"""Model stock: how far to go from the base to the experts' mean, read off their angles."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from merge_ops.registry import merge_op
from merge_ops.spherical import cosine, units
from merge_ops.task_vectors import mean, task_vectors


@merge_op(paper="Jang et al., Model stock, arXiv:2403.19522", min_experts=2)
def model_stock(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    filter_wise: bool = False,
) -> Tensor:
    """(1-t) theta_0 + t mean(theta_i) with t = N cos / (1 + (N-1) cos).

    cos is the mean over all pairs of task vectors. Where they cancel (no t) the base stays.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape, at least two.
        filter_wise: one t per row (slice along the first dimension) rather than per tensor; a
            vector is one row.
    """
    taus = task_vectors(base, experts)
    rows = base.shape[0] if filter_wise and base.dim() > 1 else 1
    flat = [tau.reshape(rows, -1) for tau in taus]  # (rows, columns)
    directions = [units(x)[0] for x in flat]
    cos = mean([cosine(a, b) for a, b in combinations(directions, 2)])  # (rows, 1)
    n = len(experts)
    below = 1 + (n - 1) * cos
    t = torch.where(below > 1e-6, n * cos / below, 0.0)
    return (base.float() + (t * mean(flat)).view(base.shape)).to(base.dtype)
