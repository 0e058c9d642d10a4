"""DARE: drop entries of the task vectors at random and rescale the rest."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from merge_ops.knobs import Densities, Scale, Weights
from merge_ops.masks import Draw
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, elect, restore_l1, task_vectors, weighted_sum
from merge_ops.traits import Traits

_PAPER = "Yu et al., Language models are super Mario, arXiv:2311.03099"
_TRAITS = Traits(
    scale="lambda",
    breaks={"symmetric": "the random numbers belong to an expert's place in the recipe"},
)
Rescale = bool | Literal["l1"]


@merge_op(paper=_PAPER, traits=_TRAITS)
def dare_linear(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    draw: Draw,
    weight: Weights,
    density: Densities,
    lambda_: Scale = 1.0,
    normalize: bool = False,
    rescale: Rescale = True,
) -> Tensor:
    """theta_0 + lambda sum w_i (m_i tau_i) / density_i with m_i ~ Bernoulli(density_i).

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        draw: where the random numbers come from.
        weight: w_i, one per expert.
        density: probability that an entry is kept; 1 minus the paper's drop rate p.
        lambda_: scale of the sum.
        normalize: divide the sum by sum w_i.
        rescale: true divides by the density (the paper's), "l1" restores the L1 norm as mergekit
            does, false leaves the kept entries as they are.
    """
    taus = _drop(task_vectors(base, experts), density, draw, rescale)
    return add_scaled(base, weighted_sum(taus, weight, normalize=normalize), lambda_)


@merge_op(paper=f"{_PAPER}; Yadav et al., arXiv:2306.01708", traits=_TRAITS)
def dare_ties(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    draw: Draw,
    weight: Weights,
    density: Densities,
    lambda_: Scale = 1.0,
    normalize: bool = False,
    rescale: Rescale = True,
) -> Tensor:
    """As `dare_linear`, with the sign election of TIES in place of the plain sum."""
    taus = _drop(task_vectors(base, experts), density, draw, rescale)
    return add_scaled(base, elect(taus, weight, normalize=normalize), lambda_)


def _drop(
    taus: Sequence[Tensor], density: Sequence[float], draw: Draw, rescale: Rescale
) -> list[Tensor]:
    """The kept entries, rescaled; at density 1 the task vector itself, bit for bit."""
    dropped = []
    for i, (tau, kept) in enumerate(zip(taus, density, strict=True)):
        if kept >= 1:
            dropped.append(tau)
            continue
        sparse = torch.where(draw.uniform(i, tau) < kept, tau, 0.0)
        if rescale == "l1":
            sparse = restore_l1(sparse, tau)
        elif rescale and kept > 0:
            sparse = sparse / kept
        dropped.append(sparse)
    return dropped
