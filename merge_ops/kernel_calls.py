"""From a formula to the kernel calls that cover a tensor: which variant, stretches, numbers."""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from merge_ops.expression import Call, Select, Variant
from merge_ops.formula import Drawn, Formula, Largest
from merge_ops.magnitudes import Place
from merge_ops.masks import BLOCK, Draw, bound


def variant(formula: Formula, operands: int, *, added: bool, cuts: bool) -> Variant:
    """The kernel that a formula over so many operands needs.

    Args:
        formula: the formula.
        operands: how many tensors it combines.
        added: the sum is added to the base.
        cuts: entries that equal a threshold are told apart in the kernel.
    """
    select: Select = "all"
    if formula.select:
        kept = [s for s in formula.select if isinstance(s, Largest)]
        select = "drawn" if not kept else "between" if any(s.skip for s in kept) else "above"
    cuts = cuts and select in ("above", "between")
    return Variant(operands, added, select, cuts, formula.elect, bool(formula.shares))


def calls(
    form: Variant,
    formula: Formula,
    length: int,
    ends: Sequence[Callable[[int], Place]],
    draw: Draw,
) -> Iterator[Call]:
    """The kernel calls that cover a flat tensor, none of them twice.

    Args:
        form: the formula's kernel.
        formula: the formula.
        length: elements of the tensor.
        ends: of each operand, where its k largest entries end, if the formula keeps the largest.
        draw: where random numbers come from.
    """
    fixed = [*formula.weights, *(formula.shares if form.shares else [])]
    fixed += [formula.scale] if form.elect else []
    if form.select == "drawn":
        yield from _drawn_calls(formula, fixed, length, draw)
    elif form.select == "all":
        yield Call(0, length, fixed, [0])
    else:
        yield from _bounded_calls(form, formula, fixed, length, ends)


def _drawn_calls(
    formula: Formula, fixed: Sequence[float], length: int, draw: Draw
) -> Iterator[Call]:
    bounds = [bound(s.density) for s in formula.select if isinstance(s, Drawn)]
    for block, start in enumerate(range(0, length, BLOCK)):
        own = [draw.own(i, block) for i in range(len(bounds))]
        keys, factors = [key for key, _ in own], [factor for _, factor in own]
        integers = [0, draw.common(block), *keys, *factors, *bounds]
        yield Call(start, min(start + BLOCK, length), fixed, integers)


def _bounded_calls(
    form: Variant,
    formula: Formula,
    fixed: Sequence[float],
    length: int,
    ends: Sequence[Callable[[int], Place]],
) -> Iterator[Call]:
    """Stretches in which every entry that equals a threshold is judged alike.

    Entries of the magnitude where the k largest end count up to an index; up to there the test is
    `size >= magnitude`, behind it `size >= the next float`. With `form.cuts` the kernel compares
    indices itself, and only blocks of `BLOCK` elements are kept apart.
    """
    kept = [s for s in formula.select if isinstance(s, Largest)]
    places = [find(s.skip + s.count) for find, s in zip(ends, kept, strict=True)]
    if form.select == "between":
        places += [find(s.skip) for find, s in zip(ends, kept, strict=True)]
    if form.cuts:
        edges = [*range(0, length, BLOCK), length]
    else:
        edges = sorted({0, length, *(cut + 1 for _, cut in places)})
    for start, stop in pairwise(edges):
        if form.cuts:
            lasts = [min(max(cut - start, -1), BLOCK) for _, cut in places]
            yield Call(start, stop, [*fixed, *(v for v, _ in places)], [0, *lasts])
        else:
            yield Call(start, stop, [*fixed, *(_threshold(p, stop) for p in places)], [0])


def _threshold(place: Place, stop: int) -> float:
    """What a magnitude must reach in a stretch that ends before `stop`."""
    value, cut = place
    return value if stop <= cut + 1 else _next_float(value)


def _next_float(value: float) -> float:
    """The smallest float32 above a float32 that is not negative: the next pattern of bits."""
    pattern: int = struct.unpack("<i", struct.pack("<f", value))[0]
    following: float = struct.unpack("<f", struct.pack("<i", pattern + 1))[0]
    return following
