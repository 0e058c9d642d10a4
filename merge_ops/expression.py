"""The arithmetic of a formula on flat tensors: what runs chunk by chunk, or compiled, as it is."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from merge_ops.masks import finish, mix
from merge_ops.task_vectors import elect, weighted_sum

Select = Literal["all", "above", "between", "drawn"]


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a kernel over the elements start..stop of flat tensors; see `evaluate`."""

    start: int
    stop: int
    numbers: Sequence[float]
    integers: Sequence[int]

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The numbers, as float32, and the integers, as int32."""
        numbers = torch.frombuffer(array("f", self.numbers), dtype=torch.float32)
        integers = torch.frombuffer(array("i", self.integers), dtype=torch.int32)
        return numbers.to(device), integers.to(device)


@dataclass(frozen=True, slots=True)
class Work:
    """What a kernel does to one tensor.

    Attributes:
        out: is written; flat, as all of them are.
        base: what is added to, or None.
        operands: in the formula's order.
        calls: cover what is written of `out`, none of it twice.
    """

    out: Tensor
    base: Tensor | None
    operands: Sequence[Tensor]
    calls: Sequence[Call]


Kernel = Callable[[Sequence[Work]], None]
"""Does work on tensors that no other of its work reads or writes, in any order."""


def one_by_one(run: Callable[[Work, Call], None]) -> Kernel:
    """A kernel that makes one call after the other."""

    def kernel(works: Sequence[Work]) -> None:
        for work in works:
            for call in work.calls:
                run(work, call)

    return kernel


@dataclass(frozen=True, slots=True)
class Variant:
    """What of a formula is fixed in a kernel's code; the numbers come as tensors.

    Attributes:
        operands: how many.
        added: the sum is added to a base.
        select: every entry counts; those of magnitude at least `low`; also below `high`; or
            those whose random number is small enough.
        cuts: with "above" and "between", an entry that equals a threshold is judged by its index
            in the kernel, rather than by the place where the tensor is split.
        elect: sums are elected.
        shares: elected sums are divided by agreeing shares.
    """

    operands: int
    added: bool
    select: Select = "all"
    cuts: bool = False
    elect: bool = False
    shares: bool = False

    @property
    def indexed(self) -> bool:
        """Whether an element's index counts."""
        return self.cuts or self.select == "drawn"

    @property
    def name(self) -> str:
        """Says all of it; fit for a file."""
        parts = ["added" if self.added else "plain", str(self.operands), self.select]
        flags = [flag for flag in ("cuts", "elect", "shares") if getattr(self, flag)]
        return "-".join(parts + flags)

    def numbers(self) -> int:
        """How many float32 numbers a call takes: weights, shares, scale, low and high."""
        bounds = {"above": 1, "between": 2}.get(self.select, 0)
        return self.operands * (1 + self.shares + bounds) + self.elect

    def integers(self) -> int:
        """How many int32 a call takes: the first index, then keys or cuts."""
        each = {"drawn": 3, "above": int(self.cuts), "between": 2 * self.cuts}.get(self.select, 0)
        return 1 + (self.select == "drawn") + self.operands * each


def evaluate(
    form: Variant,
    out: Tensor,
    base: Tensor | None,
    operands: Sequence[Tensor],
    numbers: Tensor,
    integers: Tensor,
) -> None:
    """Write the formula's value into `out`; all arithmetic is float32.

    Args:
        form: which formula.
        out: (n,), any floating dtype.
        base: (n,), if `form.added`.
        operands: each (n,).
        numbers: float32, `form.numbers()` of them: weights; shares; scale; low; high.
        integers: int32, `form.integers()` of them: the index of the first element in its block;
            then for "drawn" the common key, and own keys, factors and bounds; with `cuts` the
            last index that still counts at `low`, and at `high`.
    """
    n = form.operands
    taus = [operand.float() for operand in operands]
    weights, rest = _split(numbers, n)
    shares, rest = _split(rest, n if form.shares else 0)
    scale, rest = _split(rest, 1 if form.elect else 0)
    if form.select == "drawn":
        taus = _drawn(taus, integers)
    elif form.select != "all":
        taus = _bounded(form, taus, rest, integers)
    if form.elect:
        merged = elect(taus, weights, shares or None) * scale[0]
    else:
        merged = weighted_sum(taus, weights)
    out.copy_(merged if base is None else base.float() + merged)


def _split(numbers: Tensor, count: int) -> tuple[list[Tensor], Tensor]:
    return [numbers[i] for i in range(count)], numbers[count:]


def _index(like: Tensor, integers: Tensor) -> Tensor:
    return torch.arange(like.numel(), dtype=torch.int32, device=like.device) + integers[0]


def _drawn(taus: Sequence[Tensor], integers: Tensor) -> list[Tensor]:
    n = len(taus)
    keys, factors, bounds = (integers[2 + i * n : 2 + (i + 1) * n] for i in range(3))
    mixed = mix(_index(taus[0], integers), integers[1])
    return [tau * (finish(mixed, keys[i], factors[i]) <= bounds[i]) for i, tau in enumerate(taus)]


def _bounded(
    form: Variant, taus: Sequence[Tensor], bounds: Tensor, integers: Tensor
) -> list[Tensor]:
    n = len(taus)
    index = _index(taus[0], integers) if form.cuts else None
    kept = []
    for i, tau in enumerate(taus):
        size = tau.abs()
        inside = _at_least(size, bounds[i], index, integers[1 + i : 2 + i])
        if form.select == "between":
            last = integers[1 + n + i : 2 + n + i]
            inside = inside & ~_at_least(size, bounds[n + i], index, last)
        kept.append(tau * inside)
    return kept


def _at_least(size: Tensor, low: Tensor, index: Tensor | None, last: Tensor) -> Tensor:
    if index is None:
        return size >= low
    return (size > low) | ((size == low) & (index <= last[0]))
