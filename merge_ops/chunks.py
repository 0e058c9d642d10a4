"""The kernel that needs no compiler: an expression in chunks that stay in a cache."""

from collections.abc import Sequence

from torch import Tensor

from merge_ops.expression import Call, Kernel, Variant, evaluate

CHUNK = 1 << 16
"""Elements taken at a time; a few float32 copies of them fit a cache."""


def chunked(form: Variant) -> Kernel:
    """The expression itself, a chunk at a time."""

    def run(out: Tensor, base: Tensor | None, operands: Sequence[Tensor], call: Call) -> None:
        numbers, integers = call.tensors(out.device)
        for start in range(call.start, call.stop, CHUNK):
            part = slice(start, min(start + CHUNK, call.stop))
            first = integers
            if form.indexed:
                first = integers.clone()
                first[0] += start - call.start
            at = None if base is None else base[part]
            evaluate(form, out[part], at, [x[part] for x in operands], numbers, first)

    return run
