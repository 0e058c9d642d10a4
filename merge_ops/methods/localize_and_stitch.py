"""Localize-and-stitch: each expert's largest changes, averaged where they overlap."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, at_least_one, largest, task_vectors
from merge_ops.traits import Traits


@merge_op(
    paper="He et al., Localize-and-stitch, arXiv:2408.13656",
    traits=Traits(kept=at_least_one),
)
def localize_and_stitch(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    density: Annotated[Sequence[float], Knob(0.01, 1.0, per_expert=True, log=True, default=0.1)],
) -> Tensor:
    """theta_0 + sum (m_i / sum m_j) tau_i, m_i the largest entries of |tau_i| (no data needed).

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        density: share of the entries in each mask: int(density n) of them, at least one.
    """
    total, count = torch.zeros_like(base, dtype=torch.float32), torch.zeros_like(base).float()
    for tau, share in zip(task_vectors(base, experts), density, strict=True):
        mask = largest(tau.abs(), at_least_one(tau.numel(), share))
        total += torch.where(mask, tau, 0.0)
        count += mask
    return add_scaled(base, total / count.clamp_min(1), 1.0)
