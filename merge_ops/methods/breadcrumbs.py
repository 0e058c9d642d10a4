"""Model breadcrumbs: keep the entries of middling magnitude, without outliers and noise."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from torch import Tensor

from merge_ops.formula import Facts, Formula, Largest
from merge_ops.knobs import Densities, Knob, Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import (
    add_scaled,
    elect,
    l1_ratio,
    largest,
    scaled,
    task_vectors,
    weighted_sum,
)
from merge_ops.traits import Traits

_PAPER = "Davari and Belilovsky, Model breadcrumbs, arXiv:2312.06795"
Gammas = Annotated[Sequence[float], Knob(0.0, 0.05, per_expert=True, default=0.01)]


def kept_count(n: int, density: float) -> int:
    """How many of n entries are kept: int(density n), perhaps none of a tiny tensor."""
    return max(0, min(n, int(density * n)))


def _middle(n: int, density: float, gamma: float) -> Largest:
    """int(density n) entries after the int(gamma n) largest, or after fewer if they do not fit."""
    kept = kept_count(n, density)
    return Largest(kept, skip=max(0, min(int(gamma * n), n - kept)))


def _formula(
    facts: Facts,
    *,
    weight: Sequence[float],
    density: Sequence[float],
    gamma: Sequence[float],
    lambda_: float = 1.0,
    normalize: bool = False,
    rescale: bool = False,
    elect: bool = False,
) -> Formula | None:
    if rescale:  # a norm of what is kept is not elementwise
        return None
    middle = [_middle(facts.numel, d, g) for d, g in zip(density, gamma, strict=True)]
    if elect:
        shares = weight if normalize else ()
        return Formula(weight, select=middle, elect=True, shares=shares, scale=lambda_)
    return Formula(scaled(weight, normalize=normalize, scale=lambda_), select=middle)


@merge_op(
    paper=_PAPER,
    traits=Traits(scale="lambda", operands="task_vectors", kept=kept_count, formula=_formula),
)
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
    taus, ratios = _trim(task_vectors(base, experts), density, gamma, rescale=rescale)
    shares = scaled(weight, normalize=normalize, scale=lambda_)
    weights = [share * ratio for share, ratio in zip(shares, ratios, strict=True)]
    return add_scaled(base, weighted_sum(taus, weights), 1.0)


@merge_op(
    paper=f"{_PAPER}; Yadav et al., arXiv:2306.01708",
    traits=Traits(
        scale="lambda",
        operands="task_vectors",
        kept=kept_count,
        formula=partial(_formula, elect=True),
    ),
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
    taus, ratios = _trim(task_vectors(base, experts), density, gamma, rescale=rescale)
    weights = [w * ratio for w, ratio in zip(weight, ratios, strict=True)]
    return add_scaled(base, elect(taus, weights, weight if normalize else None), lambda_)


def _trim(
    taus: Sequence[Tensor], density: Sequence[float], gamma: Sequence[float], *, rescale: bool
) -> tuple[list[Tensor], list[float | Tensor]]:
    """The trimmed task vectors, and what `rescale` multiplies each of them by."""
    trimmed = []
    for tau, share, outliers in zip(taus, density, gamma, strict=True):
        middle = _middle(tau.numel(), share, outliers)
        trimmed.append(tau * largest(tau.abs(), middle.count, skip=middle.skip))
    if not rescale:
        return trimmed, [1.0] * len(trimmed)
    return trimmed, [l1_ratio(small, tau) for small, tau in zip(trimmed, taus, strict=True)]
