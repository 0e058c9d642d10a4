"""EMR: one unified task vector for all experts, with a mask and a rescaler for each."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.registry import merge_op
from merge_ops.task_vectors import add_scaled, task_vectors, weighted_sum
from merge_ops.traits import Traits


def unified(taus: Sequence[Tensor]) -> Tensor:
    """tau_u = gamma x the largest |tau_i| that agrees with gamma = sign(sum tau_i).

    A sum of zero counts as minus.
    """
    plus = weighted_sum(taus, [1.0] * len(taus)) > 0
    elected = torch.zeros_like(taus[0])
    for tau in taus:
        signed = torch.where(plus, tau, -tau)  # tau gamma
        elected = torch.maximum(elected, signed)
    return torch.where(plus, elected, -elected)


def view(tau: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """One expert's mask over the unified task vector, and its rescaler.

    Args:
        tau: the expert's task vector.
        whole: tau_u, of the same shape.

    Returns:
        M_i = [tau_i gamma > 0], boolean, and lambda_i = sum |tau_i| / sum |M_i tau_u|, a scalar;
        0 where the mask is empty.
    """
    mask = tau * whole.sign() > 0  # where tau_u is 0 no expert agrees with gamma
    covered = torch.where(mask, whole, 0.0).abs().sum()
    return mask, torch.where(covered > 0, tau.abs().sum() / covered, 0.0)


@merge_op(
    paper="Huang et al., EMR-Merging, arXiv:2405.17461",
    traits=Traits(views="expert", breaks={"symmetric": "`expert` names one of them by its place"}),
)
def emr(
    base: Tensor, experts: Sequence[Tensor], /, *, expert: int | Literal["unified"] = "unified"
) -> Tensor:
    """The view of one expert, theta_0 + lambda_i M_i tau_u, or the unified theta_0 + tau_u.

    The rescaler is one number per tensor.

    Args:
        base: theta_0.
        experts: theta_i, each of the base's shape.
        expert: whose view it is, by index among the experts; "unified" for the vector that all
            views share, without mask and rescaler.

    Raises:
        UserError: there is no such expert.
    """
    if expert != "unified" and not 0 <= expert < len(experts):
        raise UserError(f"emr: expert must be in 0..{len(experts) - 1}, but got {expert}.")
    taus = task_vectors(base, experts)
    whole = unified(taus)
    if expert == "unified":
        return add_scaled(base, whole, 1.0)
    mask, rescaler = view(taus[expert], whole)
    return add_scaled(base, torch.where(mask, whole, 0.0) * rescaler, 1.0)
