"""OptMerge (WUDI-v2): WUDI against low-rank targets."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from merge_ops.descent import adam, adam_entries, sgd
from merge_ops.knobs import Scale
from merge_ops.registry import merge_op
from merge_ops.spectral import (
    normal_entries,
    normal_matrices,
    precise,
    share_of_rank,
    squared_norm,
    svd,
    svd_entries,
    truncated,
)
from merge_ops.task_vectors import add_scaled, mean, task_vectors
from merge_ops.traits import FLOAT32, Traits

Variant = Literal["lora", "full"]
RankShare = float | Literal["1/N"]


def solve_optmerge(
    taus: Sequence[Tensor],
    *,
    variant: Variant = "full",
    rank_share: RankShare = "1/N",
    steps: int = 300,
) -> Tensor:
    """The merged task vector of scale 1, float32; the mean where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    k = share_of_rank(taus[0], 1 / len(taus) if rank_share == "1/N" else float(rank_share))
    exact = [precise(tau) for tau in taus]
    middle = mean(exact)
    kept = [truncated(*svd(tau), k) for tau in exact]
    targets = kept
    if variant == "full":  # what the experts share is not cut off
        targets = [truncated(*svd(tau - middle), k) + middle for tau in exact]
    c, d = normal_matrices(kept, targets, [squared_norm(tau) for tau in exact])
    if variant == "full":
        return adam(middle * len(exact), c, d, steps=steps, lr=1e-5)
    return sgd(middle, c, d, steps=steps, lr=1e-4, momentum=0.9)


def _working(rows: int, columns: int, experts: int, precise: int) -> int:
    """Precise task vectors, factors and targets, their mean; then the most that a step adds."""
    size, square = rows * columns, columns * columns
    decomposed = precise * svd_entries(rows, columns)  # of the last target, which is not there yet
    descent = precise * (2 * size + square) + FLOAT32 * adam_entries(rows, columns)
    made = precise * normal_entries(rows, columns)
    return precise * (3 * experts + 1) * size + max(decomposed, descent, made)


@merge_op(
    paper="Wei et al., OptMerge: unifying multimodal LLM capabilities, arXiv:2505.19892",
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="lambda",
        solve=solve_optmerge,
        working=_working,
    ),
)
def optmerge(
    base: Tensor,
    experts: Sequence[Tensor],
    /,
    *,
    lambda_: Scale = 1.0,
    variant: Variant = "full",
    rank_share: RankShare = "1/N",
    steps: int = 300,
) -> Tensor:
    """theta_0 + lambda argmin_tau sum_i ||(tau - T_i) SVD_k(tau_i)^T||_F^2 / ||tau_i||_F^2.

    Both variants follow the released code: a descent that stops after `steps`, short of the
    minimum, but always in float32.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        lambda_: scale of the merged task vector.
        variant: "full" for full fine-tunes: T_i = SVD_k(tau_i - mean) + mean, Adam of step 1e-5
            from the sum; "lora": T_i = SVD_k(tau_i), SGD of step 1e-4 and momentum 0.9 from the
            mean.
        rank_share: k is this share of min(m, n), rounded down and at least one; "1/N", the
            released code's, is one over the number of experts.
        steps: of the descent.
    """
    taus = task_vectors(base, experts)
    change = solve_optmerge(taus, variant=variant, rank_share=rank_share, steps=steps)
    return add_scaled(base, change, lambda_)
