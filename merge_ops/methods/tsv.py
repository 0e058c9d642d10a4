"""TSV-M: the leading singular directions of every expert, made orthogonal to each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from merge_ops.knobs import Scale
from merge_ops.registry import merge_op
from merge_ops.spectral import polar, share_of_rank, svd, svd_entries
from merge_ops.task_vectors import add_scaled, mean, task_vectors
from merge_ops.traits import Traits


def solve_tsv(taus: Sequence[Tensor]) -> Tensor:
    """U_perp S V_perp^T of the task vectors, float32; the mean where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    k = share_of_rank(taus[0], 1 / len(taus))
    us, ss, vts = zip(*(svd(tau) for tau in taus), strict=True)
    u = torch.cat([u[:, :k] for u in us], dim=1)  # (m, N k)
    s = torch.cat([s[:k] for s in ss])  # (N k,)
    vt = torch.cat([vt[:k] for vt in vts])  # (N k, n)
    return ((polar(u) * s) @ polar(vt)).float()  # TSV-M: Procrustes on U and on V


def _working(rows: int, columns: int, experts: int, precise: int) -> int:
    """All experts' U and V^T, those of the triples kept, and the decomposition of one of these.

    Their own decompositions, one after another, hold less: the others' are not there yet.
    """
    smaller = min(rows, columns)
    held = (experts + 1) * (rows * columns + smaller * smaller)
    left = svd_entries(rows, smaller)
    right = rows * smaller + svd_entries(smaller, columns)
    return precise * (held + max(left, right))


@merge_op(
    paper="Gargiulo et al., Task Singular Vectors, arXiv:2412.00081",
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="alpha",
        solve=solve_tsv,
        working=_working,
    ),
)
def tsv(base: Tensor, experts: Sequence[Tensor], /, *, alpha: Scale = 1.0) -> Tensor:
    """theta_0 + alpha U_perp S V_perp^T.

    Of each of the N experts' task vectors the floor(min(m, n) / N) leading singular triples are
    kept, at least one; U and V of all experts side by side are replaced by the nearest
    orthonormal matrices.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        alpha: scale of the merged task vector.
    """
    return add_scaled(base, solve_tsv(task_vectors(base, experts)), alpha)
