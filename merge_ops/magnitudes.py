"""Where the k largest magnitudes of a tensor end, for any k: exact, and without sorting it anew.

A tensor is ranked once. Small ones are sorted. Larger ones get a histogram over the bit patterns
of their magnitudes, which order as the magnitudes do: 16-bit dtypes have 32,768 patterns, so a
pattern is a magnitude; of float32 the upper 16 bits are counted, and the entries of the one bin
that a rank falls into are sorted when asked for. The histogram is kept for each stretch of the
tensor, so that the search for one entry among equals reads a single stretch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

Place = tuple[float, int]
"""A magnitude, and the index of the last entry of that magnitude that still counts."""

Ranks = Callable[[Tensor, int], Place]
"""(the tensor that was ranked, k) -> where its k largest end: entry i is among them if |x_i| is
above the magnitude, or equal to it with i at most the index. Among equals, lower indices come
first. The tensor is asked for anew so that ranks do not keep it in memory."""

SMALL = 1 << 15
"""Tensors of so many elements or fewer are sorted."""

_STRETCH = {torch.bfloat16: 1 << 15, torch.float32: 1 << 15, torch.float16: 1 << 18}
_PATTERNS = 1 << 15
_CHUNK = 1 << 18  # elements whose temporary copies stay in a cache


def rank(tau: Tensor, *, small: int = SMALL) -> Ranks:
    """Rank the magnitudes of a flat tensor, (n,).

    Args:
        tau: (n,), float32, bfloat16 or float16; finite.
        small: sort tensors of at most so many elements.
    """
    inner = _sorted(tau) if tau.numel() <= small else _counted(tau)
    everything, nothing = (0.0, tau.numel() - 1), (math.inf, tau.numel() - 1)

    def find(tau: Tensor, k: int) -> Place:
        if k <= 0:
            return nothing
        return everything if k >= tau.numel() else inner(tau, k)

    return find


def _sorted(tau: Tensor) -> Ranks:
    ordered, order = torch.sort(tau.abs(), descending=True, stable=True)
    places, values = order.to(torch.int32).cpu().numpy(), ordered.float().cpu().numpy()

    def find(_: Tensor, k: int) -> Place:
        return float(values[k - 1]), int(places[k - 1])

    return find


@dataclass(frozen=True, slots=True)
class _Histogram:
    """How often each pattern occurs.

    Attributes:
        patterns: those that occur, ascending, (p,).
        counts: in each stretch, (p, stretches); those of one pattern lie side by side.
        not_above: minus the entries of a larger pattern than each, ascending, (p,).
        stretch: elements of a stretch.
    """

    patterns: Array
    counts: Array
    not_above: Array
    stretch: int


def _counted(tau: Tensor) -> Ranks:
    histogram = _count(tau)

    def find(tau: Tensor, k: int) -> Place:
        # The first pattern that fewer than k entries exceed holds the k-th largest.
        at = int(histogram.not_above.searchsorted(-k, side="right"))
        pattern, missing = int(histogram.patterns[at]), k + int(histogram.not_above[at])
        if tau.dtype == torch.float32:
            return _within_bin(tau, pattern, missing)
        return _value(pattern, tau.dtype), _nth_equal(tau, histogram, at, missing)

    return find


def _value(pattern: int, dtype: torch.dtype) -> float:
    """The magnitude of a pattern of a 16-bit dtype."""
    if dtype == torch.bfloat16:  # the upper half of a float32
        return float(np.uint32(pattern << 16).view(np.float32))
    return float(np.uint16(pattern).view(np.float16))


def _count(tau: Tensor) -> _Histogram:
    stretch = _STRETCH[tau.dtype]
    narrow = np.uint16 if stretch < 1 << 16 else np.int32
    counts = np.empty((-(-tau.numel() // stretch), _PATTERNS), dtype=narrow)
    for start in range(0, tau.numel(), _CHUNK):
        part, row = tau[start : start + _CHUNK], start // stretch
        whole = part.numel() // stretch
        if whole:
            filled = part[: whole * stretch].view(-1, stretch)
            counts[row : row + whole] = _histograms(filled)
        if part.numel() > whole * stretch:
            counts[row + whole] = _histograms(part[whole * stretch :].view(1, -1))
    totals = counts.sum(axis=0, dtype=np.int64)
    patterns = totals.nonzero()[0]
    above = totals[::-1].cumsum()[::-1] - totals
    return _Histogram(patterns, counts.T[patterns], -above[patterns], stretch)


def _histograms(stretches: Tensor) -> Array:
    """Counts of each pattern in each row, (rows, patterns)."""
    rows = stretches.shape[0]
    offsets = torch.arange(rows, dtype=torch.int32, device=stretches.device) * _PATTERNS
    places = (_pattern(stretches) + offsets[:, None]).flatten()
    counts = torch.bincount(places, minlength=rows * _PATTERNS)
    return counts.cpu().numpy().reshape(rows, _PATTERNS)


def _pattern(tau: Tensor) -> Tensor:
    """The upper 16 bits of each magnitude, without the sign; int32."""
    if tau.dtype == torch.float32:
        return (tau.view(torch.int32) & 0x7FFFFFFF) >> 16
    return tau.view(torch.int16).to(torch.int32) & 0x7FFF


def _nth_equal(tau: Tensor, histogram: _Histogram, at: int, n: int) -> int:
    """Index of the n-th entry (from 1) of the pattern in place `at`; the last index if all count.

    Nothing needs to be searched where every entry of that magnitude counts.
    """
    reached = histogram.counts[at].cumsum(dtype=np.int64)
    if n == reached[-1]:
        return tau.numel() - 1
    row = int(reached.searchsorted(n))
    before = int(reached[row - 1]) if row else 0
    start = row * histogram.stretch
    bits = tau[start : start + histogram.stretch].view(torch.int16)
    return start + int(_equal(bits, 0x7FFF, int(histogram.patterns[at]))[n - before - 1])


def _within_bin(tau: Tensor, pattern: int, n: int) -> Place:
    """The n-th largest (from 1) among the float32 entries whose upper bits are `pattern`."""
    bits = tau.view(torch.int32)
    places, values = [], []
    for start in range(0, tau.numel(), _CHUNK):
        part = bits[start : start + _CHUNK]
        inside = _equal(part, 0x7FFF0000, pattern << 16)
        places.append(inside + start)
        values.append(part[inside] & 0x7FFFFFFF)
    ordered, order = torch.sort(torch.cat(values), descending=True, stable=True)
    value = ordered[n - 1 : n].view(torch.float32)
    return float(value), int(torch.cat(places)[order[n - 1]])


def _equal(bits: Tensor, mask: int, pattern: int) -> Tensor:
    """Indices of the integers that show `pattern` under `mask`; numpy is faster on the CPU."""
    if bits.device.type != "cpu":
        return ((bits & mask) == pattern).nonzero().flatten()
    numbers = bits.numpy()
    kind = numbers.dtype.type
    return torch.from_numpy(np.flatnonzero((numbers & kind(mask)) == kind(pattern)))
