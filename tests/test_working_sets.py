"""What solving methods declare to hold for a while, against what they are seen to hold."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from merge_ops.registry import MergeOp, all_ops
from tests.peaks import peak_bytes

solving = pytest.mark.parametrize(
    "op", [op for op in all_ops() if op.traits.solve], ids=lambda op: op.name
)


def variants(op: MergeOp) -> Iterator[dict[str, Any]]:
    """Every combination of the options that are words; a few steps where there are steps."""
    assert op.traits.solve is not None
    hints = get_type_hints(op.traits.solve)
    words = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    few = {"steps": 3} if "steps" in hints else {}
    for chosen in product(*words.values()):
        yield few | dict(zip(words, chosen, strict=True))


@solving
@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (48, 192), (192, 48), (8, 200)])
@pytest.mark.parametrize("count", [2, 3])
def test_a_solving_method_holds_what_it_declares(
    op: MergeOp, shape: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, working = op.traits.solve, op.traits.working
    assert solve is not None
    assert working is not None, f"{op.name} must declare its working set: Traits(working=...)"
    taus = [1e-3 * torch.randn(shape) for _ in range(count)]
    most = max(peak_bytes(partial(solve, taus, **p), monkeypatch) for p in variants(op))
    declared = working(*shape, count, 8)
    assert 0.8 * declared <= most <= 1.25 * declared, most / declared


def test_only_solving_methods_declare_a_working_set() -> None:
    assert all(op.traits.solve for op in all_ops() if op.traits.working)


MEASURE = """
import sys, torch
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
torch.set_num_threads(1)
torch.linalg.svd(torch.randn(8, 8, dtype=torch.float64))
x = torch.randn(int(sys.argv[1]), int(sys.argv[2]), dtype=torch.float64)
before = peak()
found = torch.linalg.svd(x, full_matrices=False)
print((peak() - before) / 8)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("shape", [(1000, 1000), (700, 2100), (2100, 700)])
def test_an_svd_takes_the_workspace_that_is_counted(shape: tuple[int, int]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, shape)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    size, square = shape[0] * shape[1], min(shape) ** 2
    assert 0.8 <= float(told.stdout) / (2 * size + 5 * square) <= 1.25
