"""DELLA: drop entries at random, small ones of a row more often than large ones."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.knobs import Densities, Knob, Scale, Weights
from merge_ops.masks import Draw
from merge_ops.registry import merge_op
from merge_ops.task_vectors import (
    add_scaled,
    elect,
    l1_ratio,
    scaled,
    task_vectors,
    weighted_sum,
)
from merge_ops.traits import Traits

_PAPER = "Deep et al., DELLA-Merging, arXiv:2406.11617"
_TRAITS = Traits(
    scale="lambda",
    breaks={"symmetric": "the random numbers belong to an expert's place in the recipe"},
)
Epsilons = Annotated[Sequence[float], Knob(0.0, 0.3, per_expert=True, default=0.15)]
Rescale = bool | Literal["l1"]


@merge_op(paper=_PAPER, traits=_TRAITS)
def della(  # noqa: PLR0913 - one argument per knob
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    draw: Draw,
    weight: Weights,
    density: Densities,
    epsilon: Epsilons,
    lambda_: Scale = 1.0,
    normalize: bool = True,
    rescale: Rescale = True,
) -> Tensor:
    """As `della_linear`, with the sign election of TIES in place of the plain sum."""
    taus = _drop(task_vectors(base, experts), density, epsilon, draw, rescale)
    return add_scaled(base, elect(taus, weight, weight if normalize else None), lambda_)


@merge_op(paper=_PAPER, traits=_TRAITS)
def della_linear(  # noqa: PLR0913 - one argument per knob
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    draw: Draw,
    weight: Weights,
    density: Densities,
    epsilon: Epsilons,
    lambda_: Scale = 1.0,
    normalize: bool = False,
    rescale: Rescale = True,
) -> Tensor:
    """theta_0 + lambda sum w_i (m_i tau_i) / p_i with m_i ~ Bernoulli(p_i), entry by entry.

    Within a row p_i grows evenly with the rank of |tau_i|, from density - epsilon for the
    smallest entry to density + epsilon for the largest; its mean is the density.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        draw: where the random numbers come from.
        weight: w_i, one per expert.
        density: mean probability that an entry is kept; from 1 on nothing is dropped.
        epsilon: half the range of the probabilities; density +- epsilon lies inside (0, 1).
        lambda_: scale of the sum.
        normalize: divide the sum by sum w_i.
        rescale: true divides each entry by its probability (the paper's), "l1" restores the L1
            norm as mergekit does, false leaves the kept entries as they are.

    Raises:
        UserError: density - epsilon or density + epsilon outside (0, 1).
    """
    taus = _drop(task_vectors(base, experts), density, epsilon, draw, rescale)
    weights = scaled(weight, normalize=normalize, scale=lambda_)
    return add_scaled(base, weighted_sum(taus, weights), 1.0)


def _drop(
    taus: Sequence[Tensor],
    density: Sequence[float],
    epsilon: Sequence[float],
    draw: Draw,
    rescale: Rescale,
) -> list[Tensor]:
    """The kept entries, rescaled; at density 1 the task vector itself, bit for bit."""
    dropped = []
    for i, (tau, middle, half) in enumerate(zip(taus, density, epsilon, strict=True)):
        if middle >= 1:
            dropped.append(tau)
            continue
        if not (middle - half > 0 and middle + half < 1):
            raise UserError(
                "della needs density - epsilon > 0 and density + epsilon < 1 (or density 1), but "
                f"got density {middle} and epsilon {half}; lower epsilon."
            )
        probability = keep_probability(tau, middle, half)
        sparse = tau * (draw.uniform(i, tau) < probability)
        if rescale == "l1":
            sparse = sparse * l1_ratio(sparse, tau)
        elif rescale:
            sparse = sparse / probability
        dropped.append(sparse)
    return dropped


def keep_probability(tau: Tensor, density: float, epsilon: float) -> Tensor:
    """MAGPRUNE: density - epsilon .. density + epsilon, evenly over the ranks within each row.

    Rows are the slices along the first dimension, or the whole of a vector. Among equal
    magnitudes lower indices count as larger. A row of one entry has the density.
    """
    rows = tau.abs().reshape(tau.shape[0] if tau.dim() > 1 else 1, -1)  # (rows, columns)
    order = rows.argsort(dim=1, descending=True, stable=True)
    last = max(1, rows.shape[1] - 1)
    place = torch.arange(rows.shape[1], dtype=torch.float32, device=tau.device) / last
    offset = (1 - 2 * place) * epsilon if rows.shape[1] > 1 else place
    spread = torch.empty_like(rows).scatter_(1, order, offset.expand_as(rows).contiguous())
    return (density + spread).view(tau.shape)
