"""The kernel that needs no compiler: an expression in chunks that stay in a cache."""

from functools import partial

from merge_ops.expression import Call, Kernel, Variant, Work, evaluate, one_by_one

CHUNK = 1 << 16
"""Elements taken at a time; a few float32 copies of them fit a cache."""


def chunked(form: Variant) -> Kernel:
    """The expression itself, a chunk at a time."""
    return one_by_one(partial(run_call, form))


def run_call(form: Variant, work: Work, call: Call) -> None:
    """One call, a chunk at a time."""
    numbers, integers = call.tensors(work.out.device)
    for start in range(call.start, call.stop, CHUNK):
        part = slice(start, min(start + CHUNK, call.stop))
        first = integers
        if form.indexed:
            first = integers.clone()
            first[0] += start - call.start
        base = None if work.base is None else work.base[part]
        evaluate(form, work.out[part], base, [x[part] for x in work.operands], numbers, first)
