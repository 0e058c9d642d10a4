"""TIES: trim each task vector, elect a sign per element, merge the entries that agree."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.knobs import Densities, Scale, Weights
from merge_ops.registry import merge_op
from merge_ops.task_vectors import (
    add_scaled,
    at_least_one,
    elect,
    keep_largest,
    restore_l1,
    task_vectors,
)
from merge_ops.traits import Traits


@merge_op(
    paper="Yadav et al., TIES-Merging, arXiv:2306.01708",
    traits=Traits(scale="lambda", kept=at_least_one),
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
    trimmed = []
    for tau, kept in zip(task_vectors(base, experts), density, strict=True):
        small = keep_largest(tau, kept)
        trimmed.append(restore_l1(small, tau) if rescale else small)
    return add_scaled(base, elect(trimmed, weight, normalize=normalize), lambda_)
