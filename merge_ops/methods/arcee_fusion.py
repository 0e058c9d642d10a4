"""Arcee Fusion: take over only the changes that stand out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.registry import merge_op
from merge_ops.task_vectors import task_vectors

_FLOOR = 1e-8  # added to probabilities


@merge_op(paper="mergekit's method guide: Arcee Fusion", max_experts=1)
def arcee_fusion(base: Tensor, experts: Sequence[Tensor], /) -> Tensor:
    """theta_0 + tau where |tau| KL(softmax(theta_1) || softmax(theta_0)) stands out.

    The softmax runs over the last dimension. An entry stands out if its importance is at least
    the median + 1.5 interquartile ranges; the quantile q of n values is sorted[int(q (n-1))].

    In a recipe the base may be listed; the other model is the expert.

    Args:
        base: theta_0.
        experts: one tensor of the base's shape.
    """
    (tau,) = task_vectors(base, experts)
    p = torch.softmax(experts[0].float(), -1) + _FLOOR
    q = torch.softmax(base.float(), -1) + _FLOOR
    importance = tau.abs() * (p * (p / q).log()).sum(-1, keepdim=True)
    ordered = importance.flatten().sort().values
    low, median, high = (ordered[int(at * (ordered.numel() - 1))] for at in (0.25, 0.5, 0.75))
    kept = importance >= median + 1.5 * (high - low)
    return (base.float() + torch.where(kept, tau, 0.0)).to(base.dtype)
