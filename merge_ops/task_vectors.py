"""Task vectors and what the methods share: trimming, sign election, weighted sums."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from merge_ops.errors import UserError

TINY = 1e-8
"""Sums of weights below it are taken to cancel."""


def task_vectors(base: Tensor, experts: Sequence[Tensor]) -> list[Tensor]:
    """tau_i = theta_i - theta_0, subtracted in the tensors' dtype and returned in float32."""
    return [(expert - base).float() for expert in experts]


def at_least_one(n: int, density: float) -> int:
    """How many of n entries are kept at `density`: int(density n), but never none."""
    return min(n, max(1, int(density * n)))


def largest(magnitude: Tensor, count: int, *, skip: int = 0) -> Tensor:
    """Mark `count` entries after the `skip` largest; among equals, lower flat index comes first.

    Args:
        magnitude: any shape, not negative.
        count: how many entries are marked.
        skip: how many of the very largest are passed over first.

    Returns:
        A boolean tensor of the same shape with exactly `count` entries set.
    """
    order = torch.sort(magnitude.flatten(), descending=True, stable=True).indices
    kept = torch.zeros(magnitude.numel(), dtype=torch.bool, device=magnitude.device)
    kept[order[skip : skip + count]] = True
    return kept.view(magnitude.shape)


def keep_largest(tau: Tensor, density: float) -> Tensor:
    """Keep the int(density n) entries of largest magnitude, at least one; the rest become 0."""
    k = at_least_one(tau.numel(), density)
    if k >= tau.numel():
        return tau
    return tau * largest(tau.abs(), k)


def l1_ratio(trimmed: Tensor, full: Tensor) -> Tensor:
    """What brings `trimmed` to the L1 norm of `full`, a scalar; 1 for an all-zero tensor."""
    norm = trimmed.abs().sum()
    return torch.where(norm > 0, full.abs().sum() / norm, 1.0)


def scaled(weights: Sequence[float], *, normalize: bool, scale: float = 1.0) -> list[float]:
    """The weights times `scale`, divided by their sum if `normalize` (and they do not cancel)."""
    total = sum(weights)
    factor = scale / total if normalize and abs(total) >= TINY else scale
    return [weight * factor for weight in weights]


def weighted_sum(taus: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Sum w_i tau_i.

    Products are rounded before they are added (no fused multiply-add), so that entries that
    cancel give exactly 0 and elect the sign that the definition says.
    """
    total = taus[0] * weights[0]
    for tau, weight in zip(taus[1:], weights[1:], strict=True):
        total = total + tau * weight
    return total


def elect(
    taus: Sequence[Tensor],
    weights: Sequence[float | Tensor],
    shares: Sequence[float | Tensor] | None = None,
) -> Tensor:
    """Weighted sum of the entries whose sign agrees with the elected one.

    The elected sign is that of sum w_i tau_i, where 0 counts as plus; a zero entry agrees with
    nobody. With `shares` each element is divided by the sum of the shares that agree there.

    Source: Yadav et al., TIES-Merging, arXiv:2306.01708, section 3, steps 2 and 3; weights as in
    mergekit.
    """
    entries = [tau * weight for tau, weight in zip(taus, weights, strict=True)]
    sign = (reduce(torch.add, entries) >= 0) * 2.0 - 1.0
    chosen = [(entry * sign).clamp_min(0.0) for entry in entries]
    total = reduce(torch.add, chosen) * sign
    if shares is None:
        return total
    agreeing = reduce(torch.add, [(c > 0) * s for c, s in zip(chosen, shares, strict=True)])
    return total / (agreeing + (agreeing.abs() < TINY))  # by 1 where nothing agrees


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The plain mean, in the tensors' dtype."""
    return weighted_sum(tensors, [1.0] * len(tensors)) / len(tensors)


def average(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The mean by weights that are shares of a whole, in the tensors' dtype."""
    return weighted_sum(tensors, weights) / sum(weights)


def check_shares(method: str, weights: Sequence[float]) -> None:
    """Refuse weights that are no shares of a whole.

    Raises:
        UserError: one is below 0, or they sum to 0.
    """
    if min(weights) < 0 or sum(weights) < TINY:
        raise UserError(
            f"{method} needs weights of at least 0 that do not sum to 0, but got {list(weights)}."
        )


def add_scaled(base: Tensor, change: Tensor, scale: float | Tensor) -> Tensor:
    """theta_0 + scale x change, computed in float32, in the base's dtype."""
    return (base.float() + change * scale).to(base.dtype)
