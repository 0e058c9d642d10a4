"""How much memory is free and in use, on devices and on the host."""

from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 62


def free_memory(device: torch.device) -> int:
    """Bytes that a process may still use on a device; for the CPU, of main memory.

    A container's limit counts where it is lower than what the machine has free.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return min(int(psutil.virtual_memory().available), _left_in_container())


def process_memory() -> int:
    """Bytes of main memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def device_memory() -> list[tuple[str, int, int]]:
    """Name, bytes in use by anybody and bytes in all of the GPUs that this process has used."""
    known = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    pairs = {i: torch.cuda.mem_get_info(i) for i in known if torch.cuda.memory_reserved(i)}
    return [(f"cuda:{i}", total - free, total) for i, (free, total) in pairs.items()]


def _left_in_container() -> int:
    """What a control group leaves, if it sets a limit; cached files count as free."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return _NO_LIMIT
    table = dict(line.split() for line in lines)
    droppable = int(table.get("inactive_file", 0))
    return _NO_LIMIT if limit == "max" else max(0, int(limit) - used + droppable)
