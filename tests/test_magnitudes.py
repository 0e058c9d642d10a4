"""Ranks of magnitudes: for any k, exactly the entries that a stable sort puts first."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from merge_ops import magnitudes
from merge_ops.magnitudes import Ranks, rank
from merge_ops.task_vectors import largest
from tests.tiny import DEVICES

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
KINDS = ["normal", "equal", "zeros", "ties", "denormal", "both zeros", "wild", "huge"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
on_every_device = pytest.mark.parametrize("device", DEVICES)


def tensor(kind: str, n: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator)
    sign = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # the least denormal
    made = {
        "normal": x,
        "equal": 0.25 * sign,
        "zeros": x * 0,
        "ties": (x * 2).round() / 4,
        "denormal": least * (x * 3).round(),
        "both zeros": 0.0 * sign,
        "wild": sign * 2.0 ** (torch.rand(n, generator=generator) * 28 - 14),
        "huge": sign * torch.finfo(dtype).max * (1 - 0.01 * x.abs().clamp(max=1).round()),
    }
    result = made[kind].to(dtype)
    assert result.isfinite().all()
    return result


def marked(tau: Tensor, ranks: Ranks, k: int) -> Tensor:
    """The set that a place describes, in the words of `Ranks`."""
    magnitude, last = ranks(tau, k)
    size, index = tau.float().abs(), torch.arange(tau.numel(), device=tau.device)
    return (size > magnitude) | ((size == magnitude) & (index <= last))


def check(tau: Tensor, counts: list[int], small: int) -> None:
    ranks = rank(tau, small=small)
    for k in counts:
        want = largest(tau.abs(), min(max(k, 0), tau.numel()))
        assert torch.equal(marked(tau, ranks, k), want), k


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_every_rank_is_that_of_a_stable_sort(
    dtype: torch.dtype, kind: str, data: st.DataObject
) -> None:
    n = data.draw(st.sampled_from([1, 2, 3, 31, 500, 5000]))
    tau = tensor(kind, n, dtype, data.draw(st.integers(0, 999)))
    small = data.draw(st.sampled_from([0, n - 1, n]))
    check(tau, data.draw(st.lists(st.integers(-1, n + 1), min_size=1, max_size=4)), small)


@every_dtype
@given(values=st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=12), k=st.integers(0, 13))
@example(values=[0.0, -0.0, 0.0], k=2)
@example(values=[1.0, -1.0, 1.0], k=1)
def test_any_values_at_all(dtype: torch.dtype, values: list[float], k: int) -> None:
    for small in (0, 100):
        check(torch.tensor(values).to(dtype), [k], small)


@on_every_device
@every_dtype
@pytest.mark.parametrize("kind", ["equal", "ties", "normal", "wild"])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_stretches_and_chunks_leave_no_seam(
    device: str, dtype: torch.dtype, kind: str, extra: int
) -> None:
    """Around 2^15 elements (a stretch, whose count may wrap) and 2^18 (a chunk)."""
    for stretch in (1 << 15, 1 << 18):
        n = stretch + extra
        tau = tensor(kind, n, dtype).to(device)
        check(tau, [1, n // 3, n - 2, stretch - 1, stretch, n], small=0)


@every_dtype
@pytest.mark.parametrize("kind", ["ties", "normal"])
def test_many_short_stretches(
    dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(magnitudes, "_STRETCH", dict.fromkeys(DTYPES, 8))
    monkeypatch.setattr(magnitudes, "_CHUNK", 24)
    for n in (8, 23, 24, 25, 77):
        check(tensor(kind, n, dtype), list(range(n + 1)), small=0)


@every_dtype
def test_none_and_all_need_no_search(dtype: torch.dtype) -> None:
    tau = tensor("normal", 40, dtype)
    for small in (0, 40):
        ranks = rank(tau, small=small)
        assert ranks(tau, 0) == (math.inf, 39)
        assert ranks(tau, -3) == (math.inf, 39)
        assert ranks(tau, 40) == ranks(tau, 99) == (0.0, 39)


@every_dtype
def test_ranks_do_not_hold_the_tensor(dtype: torch.dtype) -> None:
    """What a plan calls ranks is small: a count per stretch and pattern, not a copy."""
    tau = tensor("normal", 1 << 20, dtype)
    histogram = magnitudes._count(tau)
    held = [histogram.counts, histogram.patterns, histogram.not_above]
    assert sum((x if x.base is None else x.base).nbytes for x in held) < 0.25 * tau.nbytes
