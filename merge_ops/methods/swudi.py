"""SWUDI and ASWUDI: the optimum of WUDI on the leading eigenvectors, the start elsewhere."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from merge_ops.knobs import Knob, Scale
from merge_ops.registry import merge_op
from merge_ops.spectral import (
    Spectrum,
    filtered,
    precise,
    spectrum,
    spectrum_entries,
    squared_norm,
)
from merge_ops.spectral_rank import effective_rank
from merge_ops.task_vectors import add_scaled, mean, task_vectors
from merge_ops.traits import FLOAT32, Traits

_PAPER = (
    "Closed-form spectral regularization for multi-task model merging, "
    "github.com/WalkerWorldPeace/MLLMerging"
)
_LEAST = 1e-8  # eigenvalues are raised to it
Init = Literal["sum", "mean", "zero"]
Time = Annotated[float, Knob(100.0, 2000.0, log=True, default=300.0)]
Share = Annotated[float, Knob(0.01, 1.0, log=True, default=0.65)]


def solve_swudi(
    taus: Sequence[Tensor], *, t: float = 300.0, r: float = 0.65, init: Init = "sum"
) -> Tensor:
    """The merged task vector of scale 1, float32; the mean where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    # f / L <= t bounds what rounding can grow to, so float32 is enough here.
    start, found, values = _spectrum(taus, init)
    k = max(1, math.ceil(r * values.numel() - 1e-9))
    values = values[: min(k, found.vectors.shape[1])]  # where k is larger, the rest is zero
    return filtered(start, found, -torch.expm1(-values * t) / values)  # f = 1 - exp(-L t)


def solve_aswudi(
    taus: Sequence[Tensor], *, rule: str = "participation_sqrt", init: Init = "sum"
) -> Tensor:
    """The merged task vector of scale 1, float32; the mean where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    start, found, values = _spectrum([precise(tau) for tau in taus], init)
    rank = effective_rank(values, rule, (taus[0].shape[0], taus[0].shape[1]))
    top = torch.arange(values.numel(), device=values.device) < rank
    return filtered(start, found, (top / values)[: found.vectors.shape[1]]).float()


def _spectrum(taus: Sequence[Tensor], init: Init) -> tuple[Tensor, Spectrum, Tensor]:
    """theta_init, (m, n), the spectrum of C, and C's eigenvalues raised to the least, (n,)."""
    start = mean(taus) * {"sum": len(taus), "mean": 1, "zero": 0}[init]
    found = spectrum(taus, [squared_norm(tau) for tau in taus], start)
    return start, found, found.values.clamp_min(_LEAST)


def _working_swudi(rows: int, columns: int, experts: int, _: int) -> int:
    return FLOAT32 * spectrum_entries(rows, columns, experts)


def _working_aswudi(rows: int, columns: int, experts: int, precise: int) -> int:
    """The same precisely, with precise task vectors."""
    return precise * (experts * rows * columns + spectrum_entries(rows, columns, experts))


@merge_op(
    paper=_PAPER,
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="lambda",
        solve=solve_swudi,
        working=_working_swudi,
    ),
)
def swudi(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    lambda_: Scale = 1.0,
    t: Time = 300.0,
    r: Share = 0.65,
    init: Init = "sum",
) -> Tensor:
    """theta_0 + lambda (theta_init (I - V f V^T) + D V (f / L) V^T), C = V diag(L) V^T as in wudi.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        lambda_: scale of the merged task vector.
        t: time of the gradient flow that f = 1 - exp(-L t) stands for.
        r: share of the n eigenvectors, the leading ones, on which f is not 0.
        init: theta_init is the sum of the task vectors, their mean, or zero.
    """
    return add_scaled(base, solve_swudi(task_vectors(base, experts), t=t, r=r, init=init), lambda_)


@merge_op(
    paper=_PAPER,
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="lambda",
        solve=solve_aswudi,
        working=_working_aswudi,
    ),
)
def aswudi(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    lambda_: Scale = 1.0,
    rule: str = "participation_sqrt",
    init: Init = "sum",
) -> Tensor:
    """As `swudi` with f = 1 on the leading eigenvectors, whose number each matrix decides.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        lambda_: scale of the merged task vector.
        rule: participation_sqrt, stable_rank, entropy, gavish_donoho, or cumvar_x with a share x.
        init: theta_init is the sum of the task vectors, their mean, or zero.

    Raises:
        UserError: an unknown rule.
    """
    return add_scaled(
        base, solve_aswudi(task_vectors(base, experts), rule=rule, init=init), lambda_
    )
