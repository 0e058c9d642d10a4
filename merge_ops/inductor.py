"""Formulas compiled ahead of time by PyTorch's own compiler, for accelerators."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from merge_ops.chunks import run_call
from merge_ops.expression import Call, Kernel, Variant, Work, evaluate, one_by_one

OPTIONS = {
    # One loop, whatever the number of experts: beyond these limits sums would go through memory.
    "max_fusion_size": 4096,
    "realize_opcount_threshold": 4096,
    "realize_reads_threshold": 4096,
}

_EXAMPLE = 1024  # elements of the example that a package is made with; any number from 2 on fits

_ALIGNED = 16  # bytes; what code for accelerators takes for granted of every tensor


class _Expression(nn.Module):
    """The expression with a signature that can be exported."""

    def __init__(self, form: Variant) -> None:
        super().__init__()
        self.form = form

    def forward(self, tensors: Sequence[Tensor], numbers: Tensor, integers: Tensor) -> None:
        out, *rest = tensors
        base = rest.pop(0) if self.form.added else None
        evaluate(self.form, out, base, rest, numbers, integers)


def compile_package(form: Variant, dtype: torch.dtype, device: torch.device, path: Path) -> None:
    """Export the formula's expression with a free length, and compile it into a package.

    Args:
        form: which formula.
        dtype: of its tensors.
        device: for whose kind it is compiled.
        path: of the package, in a folder that temporary files may lie in.

    Raises:
        RuntimeError, OSError, ImportError, AssertionError, TypeError: it is not possible here.
    """
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
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=dict(OPTIONS)
        )


def load_package(path: Path, form: Variant) -> Kernel:
    """The kernel of a package; tensors that its code cannot take go through the expression."""
    package = torch._inductor.aoti_load_package(str(path)).loader.run

    def run(work: Work, call: Call) -> None:
        whole = [work.out, *([] if work.base is None else [work.base]), *work.operands]
        tensors = [x[call.start : call.stop] for x in whole]
        fits = all(x.data_ptr() % _ALIGNED == 0 for x in tensors)
        if fits and call.stop - call.start > 1:
            package([*tensors, *call.tensors(work.out.device)])
        else:
            run_call(form, work, call)

    return one_by_one(run)
