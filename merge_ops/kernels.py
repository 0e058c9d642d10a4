"""Running an expression over whole tensors: in chunks that stay in a cache, or compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from merge_ops.compilation import UnavailableError, load_package
from merge_ops.errors import UserError
from merge_ops.expression import Variant, evaluate

Mode = Literal["auto", "compiled", "eager"]
Kernel = Callable[[Tensor, Tensor | None, Sequence[Tensor], Tensor, Tensor], None]
"""(out, base or None, operands, numbers, integers); see `merge_ops.expression.evaluate`."""

CHUNK = 1 << 16
"""Elements that the eager path takes at a time; a few float32 copies of them fit a cache."""

WORTHWHILE = 1 << 24
"""With "auto", so many merged elements repay the seconds that compiling takes."""

_ALIGNED = 16  # bytes; what code for accelerators takes for granted of every tensor


@dataclass(slots=True)
class Kernels:
    """Finds the kernel for a variant.

    Attributes:
        mode: "eager", "compiled", or "auto": compiled from `WORTHWHILE` elements on, if there is
            a compiler.
        elements: how many elements a candidate writes.
        folder: where compiled packages are kept, or None for the user's cache folder.
        report: is told of each kernel before it is compiled, and why one cannot be.
    """

    mode: Mode = "auto"
    elements: int = 0
    folder: Path | None = None
    report: Callable[[str], None] = lambda _: None
    _made: dict[tuple[Variant, torch.dtype, str], Kernel] = field(default_factory=dict)

    def get(self, form: Variant, dtype: torch.dtype, device: torch.device) -> Kernel:
        """The kernel for tensors that all have this dtype and lie on this device.

        Raises:
            UserError: the mode is "compiled", and that is not possible here.
        """
        key = (form, dtype, str(device))
        if key not in self._made:
            self._made[key] = self._make(form, dtype, device)
        return self._made[key]

    def _make(self, form: Variant, dtype: torch.dtype, device: torch.device) -> Kernel:
        if self.mode == "eager" or (self.mode == "auto" and self.elements < WORTHWHILE):
            return chunked(form)
        try:
            return _compiled(form, dtype, device, self.folder, self.report)
        except UnavailableError as error:
            if self.mode == "compiled":
                raise UserError(f"kernels cannot be compiled here: {error}") from None
            self.report(f"kernels run uncompiled: {error}")
            self.mode = "eager"
            return chunked(form)


def chunked(form: Variant) -> Kernel:
    """The expression itself, a chunk at a time."""

    def run(
        out: Tensor,
        base: Tensor | None,
        operands: Sequence[Tensor],
        numbers: Tensor,
        integers: Tensor,
    ) -> None:
        for start in range(0, out.numel(), CHUNK):
            part = slice(start, start + CHUNK)
            first = integers
            if form.indexed:
                first = integers.clone()
                first[0] += start
            at = None if base is None else base[part]
            evaluate(form, out[part], at, [x[part] for x in operands], numbers, first)

    return run


def _compiled(
    form: Variant,
    dtype: torch.dtype,
    device: torch.device,
    folder: Path | None,
    report: Callable[[str], None],
) -> Kernel:
    package = load_package(form, dtype, device, folder, report)
    uncompiled = chunked(form)

    def run(
        out: Tensor,
        base: Tensor | None,
        operands: Sequence[Tensor],
        numbers: Tensor,
        integers: Tensor,
    ) -> None:
        tensors = [out, *([] if base is None else [base]), *operands]
        aligned = device.type == "cpu" or all(t.data_ptr() % _ALIGNED == 0 for t in tensors)
        if out.numel() > 1 and aligned:
            package([*tensors, numbers, integers])
        else:
            uncompiled(out, base, operands, numbers, integers)

    return run
