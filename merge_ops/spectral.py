"""Linear algebra that the spectral merge methods share, on the task vectors of one matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_NULL = 10 * torch.finfo(torch.float32).eps
"""Singular values below this share of the largest are rounding of the float32 task vectors."""

_FAINT = 1e-30
"""Task vectors of a smaller squared norm count as zero."""


def precise_dtype(device: torch.device) -> torch.dtype:
    """float64 on the CPU, float32 elsewhere.

    The eigenvalues of a Gram matrix are squares, so float32 keeps half of their digits. On
    accelerators float64 can be 64 times slower, or missing; the released codes run float32.
    """
    return torch.float64 if device.type == "cpu" else torch.float32


def precise(x: Tensor) -> Tensor:
    """In the dtype that is precise enough on its device."""
    return x.to(precise_dtype(x.device))


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


def svd_entries(rows: int, columns: int) -> int:
    """Entries that `svd` holds beside its matrix: a copy of it, U and V^T, and LAPACK's own.

    The divide-and-conquer routine asks for three to five times min(m, n)^2; 4 is taken.
    """
    smaller = min(rows, columns)
    return 2 * rows * columns + 5 * smaller * smaller


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


def normal_entries(rows: int, columns: int) -> int:
    """Entries that `normal_matrices` holds at most: D, a factor, C and two Gram matrices."""
    return 2 * rows * columns + 3 * columns * columns


def eigenvalues(c: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the symmetric C (n, n), largest first, and the eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(c)
    return values.flip(0), vectors.flip(1)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What `filtered` needs of C = sum tau_i^T tau_i / ||tau_i||^2 = V diag(L) V^T.

    Attributes:
        values: L, the eigenvalues of C, largest first, (n,).
        vectors: V, (n, n); or U, the eigenvectors of R R^T, (p, p), of which those whose
            eigenvalue is zero up to rounding are zero.
        ahead: D - theta_0 C, (m, n); or W with W R = D - theta_0 C, (m, p).
        rows: R with R^T R = C, (p, n), if `vectors` is U; else None.
    """

    values: Tensor
    vectors: Tensor
    ahead: Tensor
    rows: Tensor | None = None


def spectrum(taus: Sequence[Tensor], norms: Sequence[Tensor], start: Tensor) -> Spectrum:
    """The spectrum of C, by the cheaper of two ways.

    C has at most N m eigenvalues above zero. Where those are fewer than its n columns, they are
    read off the Gram matrix of all rows, (N m, N m), and neither C, (n, n), nor V is ever made.
    """
    n = start.shape[1]
    if len(taus) * start.shape[0] >= n:
        c, ahead = normal_matrices(taus, taus, norms, start)
        values, vectors = eigenvalues(c)
        return Spectrum(values, vectors, ahead)
    rows = torch.cat(
        [
            tau * torch.where(norm > _FAINT, norm.rsqrt(), 0.0)
            for tau, norm in zip(taus, norms, strict=True)
        ]
    )
    units = rows.chunk(len(taus))
    ahead = torch.cat([(tau - start) @ u.T for tau, u in zip(taus, units, strict=True)], dim=1)
    values, vectors = eigenvalues(rows @ rows.T)
    vectors *= solid_values(values)
    return Spectrum(torch.cat([values, values.new_zeros(n - len(values))]), vectors, ahead, rows)


def spectrum_entries(rows: int, columns: int, experts: int) -> int:
    """Entries that `spectrum` and `filtered` hold at most, theta_0 and the result included.

    `eigenvalues` holds four square matrices: C, its copy that becomes V, and LAPACK's own two.
    """
    size, short = rows * columns, rows * experts
    if short >= columns:
        square = columns * columns
        made = size + normal_entries(rows, columns)
        return max(made, 2 * size + 4 * square, 4 * size + square)
    held = (1 + experts) * size + rows * short
    return max((1 + 2 * experts) * size, held + 4 * short * short)


def filtered(start: Tensor, of: Spectrum, gain: Tensor) -> Tensor:
    """theta_0 + (D - theta_0 C) g(C), which is theta_0 (I - V f V^T) + D V (f / L) V^T.

    The optimum where f = g L is 1, the start where it is 0. With rows it is
    theta_0 + W g(R R^T) R, the same since R g(R^T R) = g(R R^T) R.
    V = R^T U / sqrt(L) is then not needed: rounding gives its faint columns a part along the
    leading ones.

    Args:
        start: theta_0, (m, n).
        of: the spectrum of C.
        gain: g = f / L of the leading k eigenvalues, (k,); it is 0 on the others.
    """
    vectors = of.vectors[:, : len(gain)]
    change = (of.ahead @ vectors).mul_(gain) @ vectors.T
    return start + change if of.rows is None else torch.addmm(start, change, of.rows)


def solid_values(values: Tensor) -> Tensor:
    """Which eigenvalues of C, largest first, are not zero up to rounding: they are squares."""
    noise = max(_NULL**2, torch.finfo(values.dtype).eps * math.sqrt(values.numel()))
    return values > noise * values[:1]
