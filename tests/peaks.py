"""The most bytes that torch's allocator and LAPACK hold at once while a function runs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

_WORKSPACE = 4
"""Times min(m, n)^2: what dgesdd takes for itself; `test_working_sets.py` measures it (slow)."""


def peak_bytes(run: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch) -> int:
    """Every allocation and release of torch's is counted, so the figure is the same every time.

    LAPACK's memory for an SVD comes from elsewhere: a buffer of its size is held beside the call.
    """
    real = torch.linalg.svd

    def svd(matrix: Tensor, *, full_matrices: bool) -> object:
        beside = matrix.new_empty(_WORKSPACE * min(matrix.shape) ** 2)
        found = real(matrix, full_matrices=full_matrices)
        del beside
        return found

    with monkeypatch.context() as patched:
        patched.setattr(torch.linalg, "svd", svd)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            result = run()
    assert result.dtype == torch.float32
    assert seen.profiler is not None
    events = seen.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most
