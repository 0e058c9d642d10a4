"""Iso-C: the summed task vector with all singular values made equal."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.knobs import Scale
from merge_ops.registry import merge_op
from merge_ops.spectral import svd, svd_entries
from merge_ops.task_vectors import add_scaled, mean, task_vectors, weighted_sum
from merge_ops.traits import FLOAT32, Traits


def solve_iso_c(taus: Sequence[Tensor]) -> Tensor:
    """Mean(s) U V^T of the sum, float32; the mean task vector where they are no matrices."""
    if taus[0].dim() != 2:
        return mean(taus)
    u, s, vt = svd(weighted_sum(taus, [1.0] * len(taus)))
    return ((u @ vt) * s.mean()).float()  # Iso-C: the flat spectrum of equal mean


def _working(rows: int, columns: int, _: int, precise: int) -> int:
    """The sum, its precise copy, and its decomposition."""
    size = rows * columns
    return FLOAT32 * size + precise * (size + svd_entries(rows, columns))


@merge_op(
    paper="Marczak et al., No task left behind: isotropic model merging, arXiv:2502.04959",
    traits=Traits(
        matrices_only=True,
        operands="task_vectors",
        scale="alpha",
        solve=solve_iso_c,
        working=_working,
    ),
)
def iso_c(base: Tensor, experts: Sequence[Tensor], /, *, alpha: Scale = 1.0) -> Tensor:
    """theta_0 + alpha mean(s) U V^T, where U diag(s) V^T is the SVD of sum tau_i.

    The mean runs over all min(m, n) singular values; directions that are null in the sum stay
    null, since their singular vectors are arbitrary.

    Args:
        base: theta_0; a tensor that is no matrix takes the mean of the task vectors.
        experts: theta_i, each of the base's shape.
        alpha: scale of the merged task vector.
    """
    return add_scaled(base, solve_iso_c(task_vectors(base, experts)), alpha)
