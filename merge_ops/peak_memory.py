"""The most memory that this process held since it was last asked to forget: host and devices."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

_FORGET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_PEAK, _RESET = "VmHWM:", "5"


def restart_peak() -> None:
    """Count the most that is held from now on.

    Linux alone lets a process do so for the host; where it does not, as on other systems, the
    host's figure stays that of the whole process.
    """
    with suppress(OSError):
        _FORGET.write_text(_RESET)
    for device in _devices():
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory() -> dict[str, int]:
    """Bytes: `host`, of main memory, and where CUDA is in use `device`, over all its devices.

    `device` counts tensors, as PyTorch's allocator does, and begins anew where something else asks
    it to: the pass by which `objectives.token_budget` measures a device.
    """
    found = {"host": _host()}
    if devices := _devices():
        found["device"] = sum(torch.cuda.max_memory_allocated(device) for device in devices)
    return found


def _devices() -> range:
    """Those of CUDA, if this process has begun to use it: asking would begin it."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # type: ignore[no-untyped-call]


def _host() -> int:
    try:
        lines = _STATUS.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(_PEAK))
    except (OSError, StopIteration):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
