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
from array import array
from collections.abc import Sequence
from pathlib import Path

import torch

from merge_ops.expression import Kernel, Variant, Work

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
    """The kernel of a library that `compile_library` made for `form`.

    All of its work is one call, so that threads meet once, not after every tensor.
    """
    function = ctypes.CDLL(str(path)).run
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64, ctypes.c_int]
    function.restype = None

    def run(works: Sequence[Work]) -> None:
        places, numbers, integers = array("q"), array("f"), array("i")
        for work in works:
            size = work.out.itemsize
            base = 0 if work.base is None else work.base.data_ptr()
            starts = [work.out.data_ptr(), base, *[x.data_ptr() for x in work.operands]]
            for call in work.calls:
                places.extend([start + call.start * size for start in starts])
                places.append(call.stop - call.start)
                numbers.extend(call.numbers)
                integers.extend(call.integers)
        count = len(places) // (form.operands + 3)
        flat = [values.buffer_info()[0] for values in (places, numbers, integers)]
        function(*flat, count, torch.get_num_threads())

    return run
