"""Rules that read a rank off a spectrum: how many eigenvalues stand for signal."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from merge_ops.errors import UserError, did_you_mean

Shape = tuple[int, int]


def effective_rank(values: Tensor, rule: str, shape: Shape) -> Tensor:
    """How many of the leading eigenvalues count, a scalar tensor, from 1 to all of them.

    Args:
        values: L > 0, largest first, (n,).
        rule: a name of `RULES`, or cumvar_x for the fewest that hold a share x of the sum.
        shape: of the matrix that the eigenvalues belong to; gavish_donoho wants it.

    Raises:
        UserError: an unknown rule, or a share outside (0, 1].
    """
    if rule.startswith("cumvar_"):
        rank = _cumulative(values, rule)
    elif rule in RULES:
        rank = RULES[rule](values, shape)
    else:
        hint = did_you_mean(rule, RULES)
        raise UserError(f"rule must be one of {', '.join(RULES)} or cumvar_x, got {rule!r}{hint}")
    return rank.clamp(1, values.numel())


def _participation_sqrt(values: Tensor, _: Shape) -> Tensor:
    return (values.sqrt().sum().square() / values.sum()).ceil()


def _stable_rank(values: Tensor, _: Shape) -> Tensor:
    return (values.square().sum() / values[0].square()).ceil()


def _entropy(values: Tensor, _: Shape) -> Tensor:
    share = values / values.sum()
    return torch.exp(-(share * share.log()).sum()).ceil()


def _gavish_donoho(values: Tensor, shape: Shape) -> Tensor:
    """Singular values above the optimal hard threshold for noise of unknown level.

    Source: Gavish and Donoho, arXiv:1305.5870, equation 11; the released code of ASWUDI puts mu
    below in place of the median of the Marchenko-Pastur law.
    """
    b = min(shape) / max(shape)
    threshold = math.sqrt(2 * (b + 1) + 8 * b / (b + 1 + math.sqrt(b * b + 14 * b + 1)))
    square = min(shape) == max(shape)
    mu = math.sqrt(2 + math.sqrt(3)) if square else math.sqrt((1 - b) ** 2 + b)
    y = values.sqrt()
    return (y > threshold / mu * y.median()).sum()


def _cumulative(values: Tensor, rule: str) -> Tensor:
    try:
        share = float(rule.removeprefix("cumvar_"))
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UserError(
            f"cumvar_x wants a share x in (0, 1], such as cumvar_0.9, but got {rule!r}."
        )
    held = values.cumsum(0) / values.sum()
    return (held < share).sum() + 1


RULES: dict[str, Callable[[Tensor, Shape], Tensor]] = {
    "participation_sqrt": _participation_sqrt,
    "stable_rank": _stable_rank,
    "entropy": _entropy,
    "gavish_donoho": _gavish_donoho,
}
