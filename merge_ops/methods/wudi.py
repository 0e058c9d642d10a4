"""WUDI: the task vector that interferes least with every expert's own."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from merge_ops.descent import adam, adam_entries
from merge_ops.knobs import Scale
from merge_ops.registry import merge_op
from merge_ops.spectral import (
    Spectrum,
    eigenvalues,
    filtered,
    normal_entries,
    normal_matrices,
    precise,
    solid_values,
    squared_norm,
)
from merge_ops.task_vectors import add_scaled, mean, task_vectors, weighted_sum
from merge_ops.traits import FLOAT32, Traits

Solver = Literal["closed_form", "adam"]


def solve_wudi(
    taus: Sequence[Tensor],
    *,
    solver: Solver = "closed_form",
    steps: int = 300,
    lr: float = 1e-5,
) -> Tensor:
    """The merged task vector of scale 1, float32; the mean where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    exact = [precise(tau) for tau in taus]
    norms = [squared_norm(tau) for tau in exact]
    start = weighted_sum(exact, [1.0] * len(exact))
    if solver == "adam":
        return adam(start, *normal_matrices(exact, exact, norms), steps=steps, lr=lr)
    c, ahead = normal_matrices(exact, exact, norms, start)
    values, vectors = eigenvalues(c)
    gain = torch.where(solid_values(values), 1 / values, 0.0)  # C^+
    return filtered(start, Spectrum(values, vectors, ahead), gain).float()


def _working(rows: int, columns: int, experts: int, precise: int) -> int:
    """Precise task vectors and their sum; then what either solver adds, whichever is more."""
    size, square = rows * columns, columns * columns
    closed = precise * (size + max(4 * square, 2 * size + 2 * square))
    descent = precise * (size + square) + FLOAT32 * adam_entries(rows, columns)
    made = precise * normal_entries(rows, columns)
    return precise * (experts + 1) * size + max(closed, descent, made)


@merge_op(
    paper="Cheng et al., Whoever started the interference should end it, arXiv:2503.08099",
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="lambda",
        solve=solve_wudi,
        working=_working,
    ),
)
def wudi(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    lambda_: Scale = 1.0,
    solver: Solver = "closed_form",
    steps: int = 300,
    lr: float = 1e-5,
) -> Tensor:
    """theta_0 + lambda argmin_tau sum_i ||(tau - tau_i) tau_i^T||_F^2 / ||tau_i||_F^2.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        lambda_: scale of the merged task vector.
        solver: "closed_form" is the optimum D C^-1, that nearest to sum tau_i where there are
            several; "adam" is the published descent from sum tau_i, which stops short of it.
        steps: of Adam.
        lr: step size of Adam.
    """
    change = solve_wudi(task_vectors(base, experts), solver=solver, steps=steps, lr=lr)
    return add_scaled(base, change, lambda_)
