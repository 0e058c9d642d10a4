"""PCB: parameters compete within each task vector and between them."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.knobs import Knob, Scale
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, task_vectors, weighted_sum
from merge_ops.traits import Traits


@merge_op(
    paper="Du et al., Parameter competition balancing, arXiv:2410.02396",
    traits=Traits(scale="lambda"),
)
def pcb(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    density: Annotated[float, Knob(0.05, 1.0, default=0.1)] = 0.1,
    lambda_: Scale = 1.0,
) -> Tensor:
    """theta_0 + lambda sum w_i sign(tau_i) a_i / sum w_i, w_i the top share of the scores.

    The score is exp(N unit(a)^2) tanh(tau_i sum tau), where a is |tau_i| without its extreme
    0.01 % at both ends and unit(x) maps x to 0..1. An entry that nobody scores stays the base's,
    and so does a tensor of one entry, which has nothing to compete with.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        density: share of the entries whose scores count, in each task vector.
        lambda_: scale of the merged task vector.
    """
    taus = task_vectors(base, experts)
    whole = weighted_sum(taus, [1.0] * len(taus))
    total, weights = torch.zeros_like(whole), torch.zeros_like(whole)
    for tau in taus:
        size = _clamped(tau.abs())
        within = torch.exp(len(taus) * _unit(size).square())  # intra-balancing
        score = within * torch.tanh(tau * whole)  # inter-balancing
        weight = _unit(torch.maximum(score, _ranked(score, int(score.numel() * (1 - density)))))
        total += weight * tau.sign() * size
        weights += weight
    return add_scaled(base, total / torch.where(weights > 0, weights, 1.0), lambda_)


def _clamped(size: Tensor) -> Tensor:
    n = size.numel()
    low, high = int(0.0001 * n), int(0.9999 * n - 1)
    return size.clamp(_ranked(size, low), _ranked(size, high))


def _ranked(x: Tensor, place: int) -> Tensor:
    """The entry at this place of the ascending order, or the nearest place that exists."""
    return x.flatten().sort().values[max(0, min(place, x.numel() - 1))]


def _unit(x: Tensor) -> Tensor:
    """(x - min) / (max - min); zero where all entries are equal."""
    low, high = x.aminmax()
    return (x - low) / torch.where(high > low, high - low, 1.0)
