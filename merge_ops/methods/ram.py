"""RAM: average what several experts changed, keep whole what one alone did."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.knobs import Knob
from merge_ops.registry import merge_op
from merge_ops.task_vectors import task_vectors

_PAPER = "Reinforced agent merging, arXiv:2601.13572"
Epsilon = Annotated[float, Knob(1e-6, 0.1, log=True, default=1e-5)]


@merge_op(paper=_PAPER)
def ram(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    epsilon: Epsilon = 1e-5,
) -> Tensor:
    """theta_0 + the mean of the changes larger than epsilon at each position.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        epsilon: changes up to it, in units of the weights, do not count.
    """
    taus, changed, count = _changes(base, experts, epsilon)
    change = torch.where(changed, taus, 0.0).sum(0) / count.clamp_min(1)
    return (base.float() + change).to(base.dtype)


@merge_op(paper=_PAPER)
def ramplus_tl(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    r: Annotated[float, Knob(0.0, 1.0, default=0.1)] = 0.1,
    alpha: Annotated[float, Knob(0.0, 1.0, default=0.2)] = 0.2,
    epsilon: Epsilon = 1e-5,
) -> Tensor:
    """As `ram`; what one expert alone changed is raised by 1 + r clamp(shared / alone, 0, alpha).

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        r: how much the expert's ratio of shared to lone entries, counted in this tensor, raises
            the lone ones.
        alpha: the most that the ratio counts.
        epsilon: changes up to it, in units of the weights, do not count; also the least
            denominator of the ratio.
    """
    taus, changed, count = _changes(base, experts, epsilon)
    alone = changed & (count == 1)
    lone = alone.view(len(experts), -1).sum(1)  # (N,)
    shared = changed.view(len(experts), -1).sum(1) - lone
    raised = 1 + r * (shared / lone.clamp_min(epsilon)).clamp(0.0, alpha)
    factor = torch.where(alone, raised.view(-1, *[1] * base.dim()), 1.0)
    change = torch.where(changed, taus * factor, 0.0).sum(0) / count.clamp_min(1)
    return (base.float() + change).to(base.dtype)


def _changes(
    base: Tensor, experts: Sequence[Tensor], epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Task vectors (N, *shape), where they count, and how many count at each position."""
    taus = torch.stack(task_vectors(base, experts))
    changed = taus.abs() > epsilon
    return taus, changed, changed.sum(0)
