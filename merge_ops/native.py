"""Formulas as machine code for this very processor, by the C++ compiler that is here.

The source is `native.cpp`. PyTorch's own compiler takes 1.3 to 1.8 times as long an element where
the processor has no instructions for bfloat16 (docs/log.md).
"""

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from merge_ops.expression import Call, Kernel, Variant

SOURCE = Path(__file__).with_name("native.cpp")

FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-march=native", "-shared", "-fPIC")
"""Rounding is that of the expression: no fused multiply-add."""

_THREADS = ("-fopenmp",) if platform.system() == "Linux" else ()


def compile_library(form: Variant, dtype: torch.dtype, path: Path) -> None:
    """Compile the formula's kernel into a shared library.

    Args:
        form: which formula.
        dtype: of its tensors.
        path: of the library.

    Raises:
        OSError: there is no compiler, or it failed.
    """
    compiler = _compiler()
    settings = {
        "DTYPE": str(dtype).removeprefix("torch."),
        "DTYPE_IS_FLOAT16": int(dtype == torch.float16),
        "OPERANDS": form.operands,
        "ADDED": int(form.added),
        "SELECT": form.select,
        "CUTS": int(form.cuts),
        "ELECT": int(form.elect),
        "SHARES": int(form.shares),
    }
    defined = [f"-D{key}={value}" for key, value in settings.items()]
    command = [*compiler, *FLAGS, *_THREADS, *defined, str(SOURCE), "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise OSError(f"{compiler[0]} failed: {(errors or ['no message'])[0]}")


def _compiler() -> list[str]:
    """The command named by $CXX, else g++ or clang++."""
    named = shlex.split(os.environ.get("CXX", ""))
    known = [named] if named else [["g++"], ["clang++"]]
    for command in known:
        if shutil.which(command[0]):
            return command
    raise OSError(f"no C++ compiler is here: {' or '.join(c[0] for c in known)}")


def load_library(path: Path, form: Variant) -> Kernel:
    """The kernel of a library that `compile_library` made for `form`."""
    function = ctypes.CDLL(str(path)).run
    pointer = ctypes.c_void_p
    pointers = pointer * form.operands
    floats, ints = ctypes.c_float * form.numbers(), ctypes.c_int32 * form.integers()
    function.argtypes = [pointer, pointer, pointers, floats, ints, ctypes.c_int64, ctypes.c_int]
    function.restype = None

    def run(out: Tensor, base: Tensor | None, operands: Sequence[Tensor], call: Call) -> None:
        before = call.start * out.itemsize
        function(
            out.data_ptr() + before,
            None if base is None else base.data_ptr() + before,
            pointers(*[operand.data_ptr() + before for operand in operands]),
            floats(*call.numbers),
            ints(*call.integers),
            call.stop - call.start,
            torch.get_num_threads(),
        )

    return run
