"""Linear algebra that the spectral merge methods share, on the task vectors of one matrix."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_NULL = 10 * torch.finfo(torch.float32).eps
"""Singular values below this share of the largest are rounding of the float32 task vectors."""

_FAINT = 1e-30
"""Task vectors of a smaller squared norm count as zero."""


def precise(x: Tensor) -> Tensor:
    """In float64 on the CPU, in float32 elsewhere.

    The eigenvalues of a Gram matrix are squares, so float32 keeps half of their digits. On
    accelerators float64 can be 64 times slower, or missing; the released codes run float32.
    """
    return x.to(torch.float64 if x.device.type == "cpu" else torch.float32)


def share_of_rank(tau: Tensor, share: float) -> int:
    """floor(share x min(m, n)), at least one."""
    return max(1, int(share * min(tau.shape) + 1e-9))


def svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, r), S (r,) and V^T (r, n) with r = min(m, n), null directions left out.

    Singular values that are zero up to float32 rounding, and their vectors, which a decomposition
    returns as it likes, are set to zero: what is built of them is then the same everywhere.
    """
    u, s, vt = torch.linalg.svd(precise(matrix), full_matrices=False)
    solid = s > _NULL * s[:1]
    return u * solid, s * solid, vt * solid[:, None]


def polar(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns: P Q^T of the SVD P S Q^T."""
    p, _, qt = svd(matrix)
    return p @ qt


def truncated(u: Tensor, s: Tensor, vt: Tensor, rank: int) -> Tensor:
    """The best approximation of the rank given, from the SVD of the whole."""
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def normal_matrices(
    factors: Sequence[Tensor],
    targets: Sequence[Tensor],
    norms: Sequence[Tensor],
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """C and D of the WUDI objective sum_i ||(tau - T_i) F_i^T||_F^2 / ||tau_i||_F^2.

    Its gradient is 2 (tau C - D), so its optimum is D C^-1.

    Args:
        factors: F_i, each (m, n).
        targets: T_i, each (m, n).
        norms: ||tau_i||_F^2, scalars; an expert of no norm does not count.
        start: theta_0, (m, n); D - theta_0 C is then given in place of D, which is exact also
            where the difference is small.

    Returns:
        C = sum F_i^T F_i / ||tau_i||^2, (n, n), and D = sum T_i F_i^T F_i / ||tau_i||^2, (m, n).
    """
    n = factors[0].shape[1]
    c, d = factors[0].new_zeros(n, n), torch.zeros_like(factors[0])
    for factor, target, norm in zip(factors, targets, norms, strict=True):
        gram = factor.T @ (factor * torch.where(norm > _FAINT, 1 / norm, 0.0))
        c += gram
        d.addmm_(target if start is None else target - start, gram)
    return c, d


def squared_norm(tau: Tensor) -> Tensor:
    """||tau||_F^2, a scalar."""
    return tau.square().sum()


def eigenvalues(c: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the symmetric C (n, n), largest first, and the eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(c)
    return values.flip(0), vectors.flip(1)


def spectrum(
    taus: Sequence[Tensor], norms: Sequence[Tensor], start: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `filtered` needs of C = sum tau_i^T tau_i / ||tau_i||^2, by the cheaper of two ways.

    C has at most N m eigenvalues above zero. Where those are fewer than its n columns, they are
    read off the Gram matrix of all rows, (N m, N m), and C itself, (n, n), is never made. Columns
    of V whose eigenvalue is zero up to rounding are then zero.

    Returns:
        D - theta_0 C, (m, n); the eigenvalues of C, largest first, (n,); V, (n, min(n, N m)).
    """
    n = start.shape[1]
    if len(taus) * start.shape[0] >= n:
        c, ahead = normal_matrices(taus, taus, norms, start)
        return ahead, *eigenvalues(c)
    units = [
        tau * torch.where(norm > _FAINT, norm.rsqrt(), 0.0)
        for tau, norm in zip(taus, norms, strict=True)
    ]
    ahead = torch.zeros_like(start)
    for tau, unit in zip(taus, units, strict=True):
        ahead.addmm_((tau - start) @ unit.T, unit)
    rows = torch.cat(units)  # (N m, n); C = rows^T rows
    values, left = eigenvalues(rows @ rows.T)
    solid = solid_values(values)
    # Of length sqrt(L), so rounding gives the last ones a part along the first; QR takes it out.
    vectors = torch.linalg.qr(rows.T @ left * solid)[0] * solid  # (n, N m)
    return ahead, torch.cat([values, values.new_zeros(n - len(values))]), vectors


def filtered(start: Tensor, ahead: Tensor, vectors: Tensor, gain: Tensor) -> Tensor:
    """theta_0 + (D - theta_0 C) V g V^T, which is theta_0 (I - V f V^T) + D V (f / L) V^T.

    The optimum where f = g L is 1, the start where it is 0.

    Args:
        start: theta_0, (m, n).
        ahead: D - theta_0 C, (m, n).
        vectors: V, eigenvectors of C as columns, (n, k).
        gain: g = f / L, (k,).
    """
    return start + (ahead @ vectors * gain) @ vectors.T


def solid_values(values: Tensor) -> Tensor:
    """Which eigenvalues of C, largest first, are not zero up to rounding: they are squares."""
    noise = max(_NULL**2, torch.finfo(values.dtype).eps * math.sqrt(values.numel()))
    return values > noise * values[:1]
