"""Which kernel runs an expression over whole tensors: a compiled one, or the one in chunks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from merge_ops.chunks import chunked
from merge_ops.compilation import UnavailableError, load_compiled
from merge_ops.errors import UserError
from merge_ops.expression import Kernel, Variant

Mode = Literal["auto", "compiled", "eager"]
WORTHWHILE = 1 << 24
"""With "auto", so many merged elements repay the seconds that compiling takes."""


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
    _made: dict[tuple[Variant, torch.dtype, torch.device], Kernel] = field(default_factory=dict)

    def get(self, form: Variant, dtype: torch.dtype, device: torch.device) -> Kernel:
        """The kernel for tensors that all have this dtype and lie on this device.

        Raises:
            UserError: the mode is "compiled", and that is not possible here.
        """
        key = (form, dtype, device)
        if key not in self._made:
            self._made[key] = self._make(form, dtype, device)
        return self._made[key]

    def _make(self, form: Variant, dtype: torch.dtype, device: torch.device) -> Kernel:
        if self.mode == "eager" or (self.mode == "auto" and self.elements < WORTHWHILE):
            return chunked(form)
        try:
            return load_compiled(form, dtype, device, self.folder, self.report)
        except UnavailableError as error:
            if self.mode == "compiled":
                raise UserError(f"kernels cannot be compiled here: {error}") from None
            self.report(f"kernels run uncompiled: {error}")
            self.mode = "eager"
            return chunked(form)
