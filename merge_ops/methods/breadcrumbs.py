"""Model breadcrumbs: keep the entries of middling magnitude, without outliers and noise."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.knobs import Densities, Knob, Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import (
    add_scaled,
    elect,
    largest,
    restore_l1,
    task_vectors,
    weighted_sum,
)
from merge_ops.traits import Traits

_PAPER = "Davari and Belilovsky, Model breadcrumbs, arXiv:2312.06795"
Gammas = Annotated[Sequence[float], Knob(0.0, 0.05, per_expert=True, default=0.01)]


def kept_count(n: int, density: float) -> int:
    """How many of n entries are kept: int(density n), perhaps none of a tiny tensor."""
    return max(0, min(n, int(density * n)))


@merge_op(paper=_PAPER, traits=Traits(scale="lambda", kept=kept_count))
def breadcrumbs(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Weights,
    density: Densities,
    gamma: Gammas,
    lambda_: Scale = 1.0,
    normalize: bool = False,
    rescale: bool = False,
) -> Tensor:
    """theta_0 + lambda sum w_i (the entries of tau_i between the largest and the smallest).

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        weight: w_i, one per expert.
        density: share of each task vector that is kept: int(density n) entries.
        gamma: share of the largest entries that is dropped: int(gamma n) of them, or fewer where
            the density needs them.
        lambda_: scale of the sum.
        normalize: divide the sum by sum w_i.
        rescale: give each trimmed task vector its L1 norm back.
    """
    taus = _trim(task_vectors(base, experts), density, gamma, rescale=rescale)
    return add_scaled(base, weighted_sum(taus, weight, normalize=normalize), lambda_)


@merge_op(
    paper=f"{_PAPER}; Yadav et al., arXiv:2306.01708",
    traits=Traits(scale="lambda", kept=kept_count),
)
def breadcrumbs_ties(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Weights,
    density: Densities,
    gamma: Gammas,
    lambda_: Scale = 1.0,
    normalize: bool = False,
    rescale: bool = False,
) -> Tensor:
    """As `breadcrumbs`, with the sign election of TIES in place of the plain sum."""
    taus = _trim(task_vectors(base, experts), density, gamma, rescale=rescale)
    return add_scaled(base, elect(taus, weight, normalize=normalize), lambda_)


def _trim(
    taus: Sequence[Tensor], density: Sequence[float], gamma: Sequence[float], *, rescale: bool
) -> list[Tensor]:
    trimmed = []
    for tau, share, outliers in zip(taus, density, gamma, strict=True):
        n = tau.numel()
        kept = kept_count(n, share)
        dropped = max(0, min(int(outliers * n), n - kept))
        small = torch.where(largest(tau.abs(), kept, skip=dropped), tau, 0.0)
        trimmed.append(restore_l1(small, tau) if rescale else small)
    return trimmed
