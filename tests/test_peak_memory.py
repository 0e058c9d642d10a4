"""The most memory held since it was last asked to forget."""

import subprocess
import sys

import pytest
import torch

from merge_ops.peak_memory import peak_memory, restart_peak

MIB = 2**20
HELD = """
from merge_ops.peak_memory import peak_memory, restart_peak
before = peak_memory()["host"]
big = bytearray(300 * 2**20)
held = peak_memory()["host"]
del big
restart_peak()
print(before, held, peak_memory()["host"])
"""


def test_the_peak_of_what_is_over_is_forgotten() -> None:
    """In a process of its own: others of this one may hold what they like."""
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    before, held, after = map(int, done.stdout.split())
    assert held >= before + 290 * MIB
    if sys.platform == "linux":
        assert after <= held - 200 * MIB


def test_where_the_kernel_forgets_nothing_the_figure_is_the_whole_processs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pathlib import Path

    monkeypatch.setattr("merge_ops.peak_memory._FORGET", Path("/nowhere/clear_refs"))
    monkeypatch.setattr("merge_ops.peak_memory._STATUS", Path("/nowhere/status"))
    restart_peak()
    assert peak_memory()["host"] > MIB


def test_nothing_is_said_of_devices_that_are_not_in_use() -> None:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        assert set(peak_memory()) == {"host"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_peak_of_a_device_is_that_of_its_tensors() -> None:
    held = torch.zeros(MIB, device="cuda")
    restart_peak()
    more = torch.zeros(64 * MIB, dtype=torch.uint8, device="cuda")
    del more
    assert peak_memory()["device"] >= 4 * held.numel() + 64 * MIB
    restart_peak()
    assert peak_memory()["device"] < 64 * MIB
