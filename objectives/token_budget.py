"""How many tokens a pass may have: fixed on the CPU, measured on an accelerator."""

from collections.abc import Callable
from typing import Protocol

import torch

ON_CPU = 8192
"""Larger passes bring nothing there."""
PROBE = 4096
"""Tokens of the pass that is measured on an accelerator."""
_LARGEST = 2**18
_SHARE = 0.6
"""Of the free memory: the longest texts take more per token than the measured pass."""


class Gauge(Protocol):
    """Tells the memory of a device."""

    def peak(self, run: Callable[[], None], /) -> int:
        """Bytes that `run` took at most, beyond what was held before."""
        ...

    def free(self) -> int:
        """Bytes that can still be taken."""
        ...


class CudaGauge:
    """The memory of one CUDA device, as its allocator counts it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def peak(self, run: Callable[[], None], /) -> int:
        """Bytes that `run` took at most, beyond what was held before."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        run()
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_allocated(self._device) - before

    def free(self) -> int:
        """Bytes that the driver has left and the allocator holds unused."""
        held = torch.cuda.memory_reserved(self._device)
        used = torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held - used


def fitting_tokens(gauge: Gauge, run: Callable[[], None], tokens: int) -> int:
    """Tokens of the largest pass that fits.

    Args:
        gauge: the device's memory.
        run: one pass.
        tokens: of that pass.
    """
    each = max(1.0, gauge.peak(run) / tokens)
    return max(1, min(_LARGEST, int(_SHARE * gauge.free() / each)))
