"""Compiled kernels, kept in the user's cache folder: who compiles them, and under which names.

A kernel is machine code, so it is kept where only the user writes, never in a study's folder,
which may come from a stranger. Its name carries a digest of all that it was made of.
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from merge_ops import expression, inductor, masks, native, task_vectors
from merge_ops.expression import Kernel, Variant


class UnavailableError(Exception):
    """This machine cannot compile, and why."""


def cache_folder() -> Path:
    """Where kernels are kept: in $XDG_CACHE_HOME, or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mergetuna" / "kernels"


def load_compiled(
    form: Variant,
    dtype: torch.dtype,
    device: torch.device,
    folder: Path | None,
    report: Callable[[str], None],
) -> Kernel:
    """The compiled expression for tensors of one dtype; made now if it is not kept yet.

    Args:
        form: which expression.
        dtype: of all tensors.
        device: for whose kind it is compiled: by the C++ compiler for the processor, by PyTorch's
            for accelerators.
        folder: where kernels are kept, or None for `cache_folder()`.
        report: is told before something is compiled, which takes seconds.

    Raises:
        UnavailableError: there is no compiler, or it failed.
    """
    kept = (folder or cache_folder()) / _file_name(form, dtype, device)
    try:
        if not kept.exists():
            report(f"compiling {form.name} for {device.type} (once per machine)")
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=kept.parent) as made:  # put in place at once
                _compile(form, dtype, device, Path(made) / kept.name)
                (Path(made) / kept.name).replace(kept)
        load = native.load_library if device.type == "cpu" else inductor.load_package
        return load(kept, form)
    except (RuntimeError, OSError, ImportError, AssertionError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnavailableError(lines[0]) from error


def _compile(form: Variant, dtype: torch.dtype, device: torch.device, path: Path) -> None:
    if device.type == "cpu":
        native.compile_library(form, dtype, path)
    else:
        inductor.compile_package(form, dtype, device, path)


def _file_name(form: Variant, dtype: torch.dtype, device: torch.device) -> str:
    """Kind, dtype, device, and a digest of the code, the compiler's version and the machine."""
    if device.type == "cpu":
        suffix, parts = "so", [native.SOURCE.read_bytes(), repr(native.FLAGS).encode()]
    else:
        sources = (expression, task_vectors, masks)
        suffix, parts = "pt2", [Path(str(module.__file__)).read_bytes() for module in sources]
        parts += [torch.__version__.encode(), repr(inductor.OPTIONS).encode()]
    parts.append(_processor())
    if device.type == "cuda":
        parts.append(repr(torch.cuda.get_device_capability(device)).encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return f"{form.name}-{str(dtype).removeprefix('torch.')}-{device.type}-{digest}.{suffix}"


def _processor() -> bytes:
    """All that code for this very processor may take for granted: its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode() + torch.backends.cpu.get_cpu_capability().encode()
    told = (b"flags", b"Features", b"isa")  # x86, Arm, RISC-V
    return next((line for line in lines if line.startswith(told)), platform.machine().encode())
