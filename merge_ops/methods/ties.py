"""TIES: trim each task vector, elect a sign per element, merge the entries that agree."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.formula import Facts, Formula, Largest
from merge_ops.knobs import Densities, Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import (
    add_scaled,
    at_least_one,
    elect,
    keep_largest,
    l1_ratio,
    task_vectors,
)
from merge_ops.traits import Traits


def _formula(
    facts: Facts,
    *,
    weight: Sequence[float],
    density: Sequence[float],
    lambda_: float = 1.0,
    normalize: bool = True,
    rescale: bool = False,
) -> Formula | None:
    if rescale:  # a norm of what is kept is not elementwise
        return None
    kept = [Largest(at_least_one(facts.numel, share)) for share in density]
    shares = weight if normalize else ()
    return Formula(weight, select=kept, elect=True, shares=shares, scale=lambda_)


@merge_op(
    paper="Yadav et al., TIES-Merging, arXiv:2306.01708",
    traits=Traits(scale="lambda", operands="task_vectors", kept=at_least_one, formula=_formula),
)
def ties(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    weight: Weights,
    density: Densities,
    lambda_: Scale = 1.0,
    normalize: bool = True,
    rescale: bool = False,
) -> Tensor:
    """theta_0 + lambda x the weighted sum of the trimmed entries that agree with the elected sign.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        weight: w_i, one per expert. With `normalize`, weights that are equal cancel.
        density: share of each task vector that is kept: int(density n) entries, at least one.
        lambda_: scale of the sum.
        normalize: divide each element by the sum of the weights that agree there.
        rescale: give each trimmed task vector its L1 norm back.
    """
    taus = task_vectors(base, experts)
    trimmed = [keep_largest(tau, kept) for tau, kept in zip(taus, density, strict=True)]
    weights: list[float | Tensor] = list(weight)
    if rescale:
        ratios = [l1_ratio(small, tau) for small, tau in zip(trimmed, taus, strict=True)]
        weights = [w * ratio for w, ratio in zip(weight, ratios, strict=True)]
    return add_scaled(base, elect(trimmed, weights, weight if normalize else None), lambda_)
