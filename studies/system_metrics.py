"""How busy the machine is while a study runs: MLflow's own figures, sampled by a thread."""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

_EVERY_S = 10.0
_MOST = 4096  # samples that wait for a store; 11 hours of them
Sample = tuple[int, dict[str, float]]
"""Time in milliseconds, and figures by name."""


class SystemSampler:
    """Samples processor, memory, disk and GPUs, in a daemon thread.

    A store that is down costs memory only: where more samples wait than `_MOST`, every second of
    them goes, so that what is kept spans the whole time.
    """

    def __init__(self, every_s: float | None = None) -> None:
        """Prepare.

        Args:
            every_s: seconds between samples; by default MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
                or ten.
        """
        self._every = every_s or _interval()
        self._kept: list[Sample] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if not self._thread.is_alive() and not self._ended.is_set():
            self._thread.start()

    def end(self) -> None:
        """Stop; what was sampled can still be taken."""
        self._ended.set()

    def take(self) -> list[Sample]:
        """What was sampled since the last time."""
        with self._lock:
            taken, self._kept = self._kept, []
        return taken

    def put_back(self, samples: Sequence[Sample]) -> None:
        """Keep samples that no store took."""
        with self._lock:
            self._keep([*samples, *self._kept])

    def _keep(self, samples: list[Sample]) -> None:
        self._kept = samples[::2] if len(samples) > _MOST else samples

    def _run(self) -> None:
        try:
            monitors = _monitors()
            _figures(monitors)  # of the processor: what it did since the last look
        except Exception:  # no such figures here; the study goes on without them
            return
        pause = min(1.0, self._every)  # a short study has some too
        while not self._ended.wait(pause):
            pause = self._every
            try:
                sample = (int(time.time() * 1000), _figures(monitors))
            except Exception:  # a device that went away
                return
            with self._lock:
                self._keep([*self._kept, sample])


def points(samples: Sequence[Sample], start: int) -> list[tuple[str, float, int, int]]:
    """Samples as metrics of MLflow: name, value, time, and as step the seconds since `start`."""
    return [
        (name, value, stamp, (stamp - start) // 1000)
        for stamp, figures in samples
        for name, value in figures.items()
    ]


def _interval() -> float:
    try:
        every = float(os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"])
    except (KeyError, ValueError):
        return _EVERY_S
    return every if every > 0 else _EVERY_S


def _monitors() -> list[Any]:
    """MLflow's, of what this machine has."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[Any] = []
    kinds: list[Any] = [CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor]
    for kind in kinds:
        try:
            found.append(kind())
        except Exception:  # no such device, or not the library that asks it
            continue
    return found


def _figures(monitors: Sequence[Any]) -> dict[str, float]:
    """One look, under MLflow's names."""
    found: dict[str, float] = {}
    for monitor in monitors:
        monitor.clear_metrics()
        monitor.collect_metrics()
        found |= monitor.aggregate_metrics()
    if not any(name.startswith("gpu_") for name in found):
        found |= _torch_memory()
    return {f"system/{name}": float(value) for name, value in found.items()}


def _torch_memory() -> dict[str, float]:
    """Of CUDA devices where NVIDIA's library for Python is not installed: torch knows memory."""
    import sys

    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    found = {}
    for i in range(torch.cuda.device_count()):
        if not torch.cuda.memory_reserved(i):  # asking one that is not in use would take it
            continue
        free, total = torch.cuda.mem_get_info(i)
        found[f"gpu_{i}_memory_usage_megabytes"] = (total - free) / 1e6
        found[f"gpu_{i}_memory_usage_percentage"] = round((total - free) / total * 100, 1)
    return found
