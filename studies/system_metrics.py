"""How busy the machine is while a study runs: MLflow's own figures, sampled by a thread."""

import os
import shutil
import subprocess
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
        found |= _asked_of_smi()
    return {f"system/{name}": float(value) for name, value in found.items()}


def _asked_of_smi() -> dict[str, float]:
    """Of NVIDIA's devices where its library for Python is not installed: by its own command."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return {}
    fields = "--query-gpu=index,memory.used,memory.total,utilization.gpu"
    form = "--format=csv,noheader,nounits"
    try:
        said = subprocess.run(
            [command, fields, form], capture_output=True, text=True, timeout=10, check=True
        )
        return _read_smi(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # a driver without a device, say
        return {}


def _read_smi(table: str) -> dict[str, float]:
    """Figures from rows of index, used and whole memory in MiB, and utilization in percent."""
    found = {}
    for line in table.splitlines():
        index, used, total, busy = (part.strip() for part in line.split(","))
        found[f"gpu_{index}_memory_usage_megabytes"] = round(float(used) * 2**20 / 1e6, 1)
        found[f"gpu_{index}_memory_usage_percentage"] = round(100 * float(used) / float(total), 1)
        if busy.isdigit():  # a slice of a device does not tell
            found[f"gpu_{index}_utilization_percentage"] = float(busy)
    return found
