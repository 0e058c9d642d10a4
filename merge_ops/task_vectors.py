"""Task vectors and what the methods share: trimming, sign election, weighted sums."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.errors import UserError

_TINY = 1e-8  # below this, weights are taken to cancel


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
    return torch.where(largest(tau.abs(), k), tau, 0.0)


def restore_l1(trimmed: Tensor, full: Tensor) -> Tensor:
    """Scale `trimmed` to the L1 norm of `full`; an all-zero tensor stays zero."""
    norm = trimmed.abs().sum()
    return trimmed * torch.where(norm > 0, full.abs().sum() / norm, 1.0)


def weighted_sum(taus: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Sum w_i tau_i, divided by sum w_i if `normalize` (and the weights do not cancel).

    Products are rounded before they are added (no fused multiply-add), so that entries that
    cancel give exactly 0 and elect the sign that the definition says.
    """
    total = torch.zeros_like(taus[0])
    for tau, weight in zip(taus, weights, strict=True):
        total += tau * weight
    scale = sum(weights)
    return total / scale if normalize and abs(scale) >= _TINY else total


def elect(taus: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """Weighted sum of the entries whose sign agrees with the elected one.

    The elected sign is that of sum w_i tau_i, where 0 counts as plus; a zero entry agrees with
    nobody. With `normalize` each element is divided by the sum of its agreeing weights.

    Source: Yadav et al., TIES-Merging, arXiv:2306.01708, section 3, steps 2 and 3; weights as in
    mergekit.
    """
    plus = weighted_sum(taus, weights, normalize=False) >= 0
    total, agreeing = torch.zeros_like(taus[0]), torch.zeros_like(taus[0])
    for tau, weight in zip(taus, weights, strict=True):
        entry = tau * weight
        agrees = torch.where(plus, entry > 0, entry < 0)
        total += torch.where(agrees, entry, 0.0)
        agreeing += agrees * weight
    if not normalize:
        return total
    return total / torch.where(agreeing.abs() < _TINY, 1.0, agreeing)


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The plain mean, in the tensors' dtype."""
    return weighted_sum(tensors, [1.0] * len(tensors), normalize=True)


def check_shares(method: str, weights: Sequence[float]) -> None:
    """Refuse weights that are no shares of a whole.

    Raises:
        UserError: one is below 0, or they sum to 0.
    """
    if min(weights) < 0 or sum(weights) < _TINY:
        raise UserError(
            f"{method} needs weights of at least 0 that do not sum to 0, but got {list(weights)}."
        )


def add_scaled(base: Tensor, change: Tensor, scale: float) -> Tensor:
    """theta_0 + scale x change, computed in float32, in the base's dtype."""
    return base.float().add(change, alpha=scale).to(base.dtype)
