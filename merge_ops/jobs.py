"""What the engine is asked to write, and the flat tensors that a formula does it with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from merge_ops.expert_statistics import ExpertStatistics, NoStatistics
from merge_ops.formula import Formula
from merge_ops.registry import MergeOp
from merge_ops.task_vectors import TINY
from merge_ops.vocabulary import Rows

Key = tuple[Any, ...]
"""Names something that is kept: the tensor, then what it is made of."""

_FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True, slots=True)
class Job:
    """One tensor of one candidate.

    Attributes:
        name: the tensor's canonical name.
        op: the method.
        base: the model that the method takes as its base, or None.
        experts: the models that are merged.
        values: the method's parameters for this tensor, by their names in YAML.
        seed: of the random masks.
        statistics: of the experts, read when the tensor is written.
        rows: of the live parameter that are written, or None for the whole of what is given.
    """

    name: str
    op: MergeOp
    base: str | None
    experts: Sequence[str]
    values: Mapping[str, Any]
    seed: int
    statistics: ExpertStatistics = field(default_factory=NoStatistics)
    rows: Rows | None = None

    def put(self, out: Tensor, merged: Tensor) -> None:
        """Write what was merged; rows that are not merged keep their bits."""
        if self.rows is None:
            out.copy_(merged.view(out.shape))
        else:
            self.rows.put(out, merged.view(-1, *out.shape[1:]))


@dataclass(frozen=True, slots=True)
class Bound:
    """What a formula reads and writes for one tensor, as flat views.

    Attributes:
        out: the live parameter, or None if it cannot be written as it is: its dtype is another,
            or it is not contiguous.
        base: what the operands' sum is added to, if anything.
        operands: in the formula's order.
        keys: what each operand is made of.
        sizes: the largest magnitude in each operand; NaN if it holds one.
        base_size: the same of the base; 0 without one.
        highest: what the dtypes of the inputs and of the live parameter both hold.
        stays: what is read lies on the device for good, and was not made for one job.
    """

    out: Tensor | None
    base: Tensor | None
    operands: Sequence[Tensor]
    keys: Sequence[Key]
    sizes: Sequence[float]
    base_size: float
    highest: float
    stays: bool

    def writes(self, out: Tensor) -> bool:
        """Whether the live parameter still lies where it lay; a module may have been moved."""
        return self.out is None or self.out.data_ptr() == out.data_ptr()

    @property
    def waits(self) -> bool:
        """Whether it may be written with others; an accelerator is not kept waiting."""
        return self.stays and self.out is not None and self.out.device.type == "cpu"

    def largest(self, formula: Formula) -> float:
        """What no value exceeds, merged or on the way; infinite or NaN if that is not known."""
        numbers = [*formula.weights, *formula.shares, formula.scale]
        if not sum(map(abs, numbers)) <= _FLOAT32_MAX:  # one may be NaN
            return math.inf
        total = sum(abs(w) * size for w, size in zip(formula.weights, self.sizes, strict=True))
        total /= TINY if formula.shares else 1
        return total * max(1.0, abs(formula.scale)) + self.base_size


def unscaled(job: Job) -> dict[str, Any]:
    """The parameters that a solved task vector depends on."""
    return {key: value for key, value in job.values.items() if key != job.op.traits.scale}


def solved_key(job: Job) -> Key:
    """All that a solved task vector depends on."""
    return (job.name, "solved", job.op.name, job.base, tuple(job.experts), repr(unscaled(job)))
