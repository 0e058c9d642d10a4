"""Karcher mean: the point of the sphere nearest to all models."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.registry import merge_op
from merge_ops.spherical import exp_map, log_map, units
from merge_ops.task_vectors import mean

_NO_DIRECTION = 1e-6  # a mean of unit vectors that is shorter points nowhere in float32


@merge_op(
    paper="Karcher, Riemannian center of mass, doi:10.1002/cpa.3160300502",
    needs_base=False,
)
def karcher(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    max_iter: int = 10,
    tol: float = 1e-5,
) -> Tensor:
    """The Karcher mean of the flat tensors' directions, times the mean of their norms.

    All models count the same. It starts at the normalised mean of the unit vectors; where that
    is zero, the plain mean takes the result's place.

    Args:
        base: gives only the dtype of the result.
        experts: theta_i, each of the base's shape.
        max_iter: the most steps.
        tol: a step shorter than this, in radians, is not taken and ends the descent.
    """
    flat = [expert.float().flatten() for expert in experts]
    pairs = [units(x) for x in flat]
    directions = [direction for direction, _ in pairs]
    middle = mean(directions)
    at = units(middle)[0]
    done = torch.zeros_like(at[:1], dtype=torch.bool)
    for _ in range(max_iter):
        step = mean([log_map(at, to) for to in directions])
        done = done | (step.norm() < tol)
        at = torch.where(done, at, units(exp_map(at, step))[0])
    turned = at * mean([norm for _, norm in pairs])
    merged = torch.where(middle.norm() > _NO_DIRECTION, turned, mean(flat))
    return merged.view(base.shape).to(base.dtype)
