"""Compiling expressions ahead of time, and keeping the packages in the user's cache folder.

A package holds machine code, so it is kept where only the user writes, never in a study's folder,
which may come from a stranger. Its name carries a digest of all that it was made of.
"""

import hashlib
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import merge_ops.expression
import merge_ops.masks
import merge_ops.task_vectors
from merge_ops.expression import Variant, evaluate

Package = Callable[[list[Tensor]], Any]
"""[out, base if added, operands.., numbers, integers]; writes into out."""

_OPTIONS = {
    "cpp.dynamic_threads": True,
    # One loop, whatever the number of experts: beyond these limits sums would go through memory.
    "max_fusion_size": 4096,
    "realize_opcount_threshold": 4096,
    "realize_reads_threshold": 4096,
}

_EXAMPLE = 1024  # elements of the example that a package is made with; any number from 2 on fits


class UnavailableError(Exception):
    """This machine cannot compile, and why."""


def cache_folder() -> Path:
    """Where packages are kept: in $XDG_CACHE_HOME, or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mergetuna" / "kernels"


def load_package(
    form: Variant,
    dtype: torch.dtype,
    device: torch.device,
    folder: Path | None,
    report: Callable[[str], None],
) -> Package:
    """The compiled expression for tensors of one dtype; made now if it is not kept yet.

    Args:
        form: which expression.
        dtype: of all tensors.
        device: for whose kind it is compiled.
        folder: where packages are kept, or None for `cache_folder()`.
        report: is told before something is compiled, which takes seconds.

    Raises:
        UnavailableError: there is no compiler, or it failed.
    """
    kept = (folder or cache_folder()) / _file_name(form, dtype, device)
    try:
        if not kept.exists():
            report(f"compiling {form.name} for {device.type} (once per machine)")
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _compile(form, dtype, device, kept)
        model = torch._inductor.aoti_load_package(str(kept))
    except (RuntimeError, OSError, ImportError, AssertionError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnavailableError(lines[0]) from error
    run: Package = model.loader.run
    return run


class _Expression(nn.Module):
    """The expression with a signature that can be exported."""

    def __init__(self, form: Variant) -> None:
        super().__init__()
        self.form = form

    def forward(self, tensors: Sequence[Tensor], numbers: Tensor, integers: Tensor) -> None:
        out, *rest = tensors
        base = rest.pop(0) if self.form.added else None
        evaluate(self.form, out, base, rest, numbers, integers)


def _compile(form: Variant, dtype: torch.dtype, device: torch.device, path: Path) -> None:
    """Export with a free length, compile, and put the package in its place at once."""
    count = 1 + form.added + form.operands
    tensors = [torch.zeros(_EXAMPLE, dtype=dtype, device=device) for _ in range(count)]
    numbers = torch.ones(form.numbers(), device=device)
    integers = torch.ones(form.integers(), dtype=torch.int32, device=device)
    length = torch.export.Dim("length", min=2, max=1 << 40)
    shapes: tuple[Any, ...] = ([{0: length}] * count, {}, {})
    with warnings.catch_warnings(), torch.no_grad():
        for category in (FutureWarning, DeprecationWarning):  # torch's own, about itself
            warnings.simplefilter("ignore", category)
        program = torch.export.export(
            _Expression(form), (tensors, numbers, integers), dynamic_shapes=shapes
        )
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(Path(folder) / "kernel.pt2"),
                inductor_configs=dict(_OPTIONS),
            )
            Path(made).replace(path)


def _file_name(form: Variant, dtype: torch.dtype, device: torch.device) -> str:
    """Kind, dtype, device, and a digest of the code, the compiler's version and the machine."""
    sources = (merge_ops.expression, merge_ops.task_vectors, merge_ops.masks)
    parts = [Path(str(module.__file__)).read_bytes() for module in sources]
    parts += [torch.__version__.encode(), _processor(), repr(_OPTIONS).encode()]
    if device.type == "cuda":
        parts.append(repr(torch.cuda.get_device_capability(device)).encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return f"{form.name}-{str(dtype).removeprefix('torch.')}-{device.type}-{digest}.pt2"


def _processor() -> bytes:
    """All that code for this very processor may take for granted: its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode() + torch.backends.cpu.get_cpu_capability().encode()
    told = (b"flags", b"Features", b"isa")  # x86, Arm, RISC-V
    return next((line for line in lines if line.startswith(told)), platform.machine().encode())
