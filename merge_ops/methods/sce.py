"""SCE: select by variance, calculate the weights, erase the minority's signs."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, task_vectors

_LEAST = 1e-6  # below it weights are taken as equal; the least denominator, too


@merge_op(paper="Wan et al., FuseChat, arXiv:2408.07990", min_experts=2)
def sce(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    select_topk: Annotated[float, Knob(0.0, 1.0)] = 1.0,
) -> Tensor:
    """theta_0 + the mean, weighted by energy, of the selected entries that agree in sign.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        select_topk: share of the positions with variance over experts that is kept, those of
            the largest variance: int(share x count); 1 keeps every position.
    """
    taus = torch.stack(task_vectors(base, experts))  # (N, *shape)
    if select_topk < 1:  # Select
        taus = taus * _most_varied(taus.var(0, correction=0), select_topk)
    energy = taus.view(len(experts), -1).square().mean(1)  # (N,) Calculate
    total = energy.sum()
    share = torch.where(total < _LEAST, 1 / len(experts), energy / total)
    plus = taus.sum(0) >= 0
    agrees = torch.where(plus, taus > 0, taus < 0)  # Erase
    weight = share.view(-1, *[1] * base.dim()) * agrees
    return add_scaled(base, (taus * weight).sum(0) / weight.sum(0).clamp_min(_LEAST), 1.0)


def _most_varied(variance: Tensor, share: float) -> Tensor:
    """Mark int(share x how many are not 0) of the largest; among equals, lower index first."""
    order = torch.sort(variance.flatten(), descending=True, stable=True).indices
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel(), device=order.device)
    count = torch.floor((variance > 0).sum().double() * share)  # as int() of a Python float
    return (rank < count).view(variance.shape)
