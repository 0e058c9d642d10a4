"""DARE: drop entries of the task vectors at random and rescale the rest."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from torch import Tensor

from merge_ops.formula import Drawn, Facts, Formula
from merge_ops.knobs import Densities, Scale, Weights
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
from merge_ops.traits import Law, Traits

_PAPER = "Yu et al., Language models are super Mario, arXiv:2311.03099"
_BREAKS: dict[Law, str] = {
    "symmetric": "the random numbers belong to an expert's place in the recipe"
}
Rescale = bool | Literal["l1"]


def _formula(
    facts: Facts,  # noqa: ARG001
    *,
    weight: Sequence[float],
    density: Sequence[float],
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: Rescale = True,
    elect: bool = False,
) -> Formula | None:
    if rescale == "l1":  # a norm of what is kept is not elementwise
        return None
    if elect:
        weights = _weights(weight, density, rescale=rescale)
        shares = weight if normalize else ()
        return Formula(weights, select=_drawn(density), elect=True, shares=shares, scale=lambda_)
    shares = scaled(weight, normalize=normalize, scale=lambda_)
    return Formula(_weights(shares, density, rescale=rescale), select=_drawn(density))


def _drawn(density: Sequence[float]) -> list[Drawn]:
    return [] if min(density) >= 1 else [Drawn(kept) for kept in density]


def _weights(weight: Sequence[float], density: Sequence[float], *, rescale: bool) -> list[float]:
    """w_i / density_i if `rescale`; nothing of an expert with density 0 is there to weigh."""
    kept = [min(share, 1.0) for share in density]
    return [
        0.0 if share <= 0 else w / share if rescale else w
        for w, share in zip(weight, kept, strict=True)
    ]


@merge_op(
    paper=_PAPER,
    traits=Traits(scale="lambda", operands="task_vectors", breaks=_BREAKS, formula=_formula),
)
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
    shares = scaled(weight, normalize=normalize, scale=lambda_)
    taus, weights = _drop(task_vectors(base, experts), shares, density, draw, rescale)
    return add_scaled(base, weighted_sum(taus, weights), 1.0)


@merge_op(
    paper=f"{_PAPER}; Yadav et al., arXiv:2306.01708",
    traits=Traits(
        scale="lambda",
        operands="task_vectors",
        breaks=_BREAKS,
        formula=partial(_formula, elect=True),
    ),
)
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
    taus, weights = _drop(task_vectors(base, experts), weight, density, draw, rescale)
    return add_scaled(base, elect(taus, weights, weight if normalize else None), lambda_)


def _drop(
    taus: Sequence[Tensor],
    weight: Sequence[float],
    density: Sequence[float],
    draw: Draw,
    rescale: Rescale,
) -> tuple[list[Tensor], Sequence[float | Tensor]]:
    """The task vectors' kept entries, and their weights with what `rescale` makes of them."""
    sparse = [
        tau if kept >= 1 else tau * (draw.uniform(i, tau) < kept)
        for i, (tau, kept) in enumerate(zip(taus, density, strict=True))
    ]
    if rescale != "l1":
        return sparse, _weights(weight, density, rescale=rescale)
    ratios = [l1_ratio(few, tau) for few, tau in zip(sparse, taus, strict=True)]
    return sparse, [w * ratio for w, ratio in zip(weight, ratios, strict=True)]
