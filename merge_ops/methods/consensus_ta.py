"""Consensus task arithmetic: keep the entries that enough experts want (TALL masks)."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.knobs import Knob, Scale
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, task_vectors, weighted_sum
from merge_ops.traits import Traits

MaskLambdas = Annotated[Sequence[float], Knob(0.2, 0.6, per_expert=True, default=0.4)]


@merge_op(
    paper="Wang et al., Localizing task information (TALL masks), arXiv:2405.07813",
    min_experts=2,
    traits=Traits(scale="alpha"),
)
def consensus_ta(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    mask_lambda: MaskLambdas,
    k: int = 2,
    alpha: Scale = 1.0,
) -> Tensor:
    """theta_0 + alpha tau_MTL [sum m_i >= k], m_i = [|tau_i| > mask_lambda_i |tau_MTL - tau_i|].

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        mask_lambda: how much an expert's own change must stand out from the others'.
        k: how many experts must want an entry, 1 to all.
        alpha: scale of tau_MTL = sum tau_i.

    Raises:
        UserError: k that no number of experts can reach, or below 1.
    """
    if not 1 <= k <= len(experts):
        raise UserError(f"consensus_ta: k must be in 1..{len(experts)}, but got {k}.")
    taus = task_vectors(base, experts)
    whole = weighted_sum(taus, [1.0] * len(taus))
    votes = torch.zeros_like(whole)
    for tau, stands_out in zip(taus, mask_lambda, strict=True):
        votes += tau.abs() > stands_out * (whole - tau).abs()
    return add_scaled(base, torch.where(votes >= k, whole, 0.0), alpha)
