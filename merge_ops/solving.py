"""Task vectors that a method has to solve, listed so that the work can be followed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from merge_ops.jobs import Job


@dataclass(frozen=True, slots=True)
class Solvable:
    """A task vector that a method has to solve.

    Attributes:
        job: which tensor, and with which parameters.
        shape: of the tensor; the time that it takes depends on little else.
        size: bytes that the solution takes.
    """

    job: Job
    shape: tuple[int, ...]
    size: int


Follow = Callable[[Sequence[Solvable]], Iterable[Solvable]]
"""Passes what it is given on, one by one: it may count and time what is done in between."""


def each_shape_first(unsolved: Sequence[Solvable]) -> list[Solvable]:
    """One of each shape in front, so that the time of the rest is known early."""
    first = {one.shape: i for i, one in reversed(list(enumerate(unsolved)))}
    rest = [one for i, one in enumerate(unsolved) if i not in first.values()]
    return [unsolved[i] for i in sorted(first.values())] + rest
