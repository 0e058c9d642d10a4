"""Writing one merged tensor in place: by a kernel if the method has a formula, or as defined."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from merge_ops.batch import Batch
from merge_ops.expression import Kernel, Work
from merge_ops.formula import Formula
from merge_ops.jobs import Bound, Job, Key, solved_key, unscaled
from merge_ops.kernel_calls import calls, variant
from merge_ops.kernels import Kernels
from merge_ops.masks import Draw
from merge_ops.registry import call, keywords
from merge_ops.source_facts import SourceFacts
from merge_ops.sources import Sources
from merge_ops.tensor_merge import checked

_FORMULAS = 10_000  # kept at most, for candidates differ

_SAFE = 0.99
"""Of the largest value of a dtype: rounding on the way adds less than the rest of it."""


@dataclass(slots=True)
class Engine:
    """Writes jobs; what depends on the models alone is found once and kept.

    Attributes:
        sources: the models beside the live one.
        kernels: what runs formulas.

    Solved task vectors are all kept: a study searches the parameters that they depend on over a
    short list, which the plan counts.
    """

    sources: Sources
    kernels: Kernels
    _formulas: dict[Key, Formula | None] = field(default_factory=dict)
    _bound: dict[Key, Bound] = field(default_factory=dict)
    _known: SourceFacts = field(init=False)
    _solved: dict[Key, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = SourceFacts(self.sources)

    def write(self, out: Tensor, job: Job, batch: Batch) -> bool:
        """Write the merged tensor into `out`, in place: now, or when the batch is run.

        Args:
            out: a live parameter, of which `job.rows` are written.
            job: what is merged.
            batch: takes what can wait.

        Returns:
            Whether the magnitudes of what went in prove that no value can be infinite or NaN.

        Raises:
            UserError: parameters that the method refuses, or weights that are not finite.
        """
        shape = out.shape if job.rows is None else job.rows.shape(out.shape)
        formula = self._formula(job, shape.numel())
        bound = None if formula is None else self._bind(out, job, formula)
        if formula is None or bound is None:
            self._write_as_defined(out, job)
            return False
        merged = torch.empty_like(bound.operands[0]) if bound.out is None else bound.out
        kernel, work = self._work(merged, bound, job, formula)
        if bound.waits:
            batch.add(kernel, work)
        else:
            kernel([work])
        if bound.out is None:  # rounded to the dtype of the inputs first, as the method is defined
            job.put(out, merged)
        return bound.largest(formula) <= _SAFE * bound.highest

    def solve(self, job: Job) -> None:
        """Solve and keep what `write` would, if the job's method is one to solve; write nothing.

        Raises:
            UserError: parameters that the method refuses.
        """
        if job.op.traits.solve:
            self._known.check(job)
            self._solution(job, self.sources.weights(str(job.base), job.name).dtype)

    def prefetch(self, job: Job) -> None:
        """Start to bring what a job needs to the device."""
        models = job.experts if job.base is None else [job.base, *job.experts]
        self.sources.prefetch(models, job.name)

    def _write_as_defined(self, out: Tensor, job: Job) -> None:
        """By the method's own function."""
        self._known.check(job)
        values = checked(job.op, job.values, len(job.experts))
        experts = [self.sources.weights(e, job.name) for e in job.experts]
        base = self.sources.weights(job.base, job.name) if job.base else experts[0]
        draw = {"draw": Draw(job.seed, job.name)} if job.op.random else {}
        taken = job.op.traits.statistics
        given: dict[str, Any] = {taken: job.statistics.read(job.name, out.device)} if taken else {}
        job.put(out, call(job.op, base, experts, {**values, **draw, **given}))

    def _formula(self, job: Job, numel: int) -> Formula | None:
        """The method's formula for this tensor; equal ones are made once per candidate."""
        own = job.name if job.op.max_experts == 1 else None  # it may ask for an angle
        key = (job.op.name, len(job.experts), numel, own, repr(job.values))
        if key not in self._formulas:
            if len(self._formulas) > _FORMULAS:
                self._formulas.clear()
            self._formulas[key] = self._make_formula(job, numel)
        return self._formulas[key]

    def _make_formula(self, job: Job, numel: int) -> Formula | None:
        values = checked(job.op, job.values, len(job.experts))
        traits = job.op.traits
        if numel == 0:
            return None
        if traits.solve and traits.scale:
            return Formula([float(values.get(traits.scale, job.op.knobs[traits.scale].default))])
        if traits.formula is None:
            return None
        return traits.formula(_Facts(numel, lambda: self._known.cosine(job)), **keywords(values))

    def _bind(self, out: Tensor, job: Job, formula: Formula) -> Bound | None:
        """The formula's tensors, or None if what goes in is not of one dtype and contiguous."""
        solved = solved_key(job) if job.op.traits.solve else None
        key = (job.name, job.op.name, job.base, tuple(job.experts), solved)
        known = self._bound.get(key)
        if known is not None and known.writes(out):
            return known
        self._known.check(job)
        base, operands = self._operands(job, formula)
        tensors = [*(x for _, x in operands), *([] if base is None else [base])]
        dtype = tensors[0].dtype
        if not all(t.dtype == dtype and t.is_contiguous() for t in tensors):
            return None
        direct = out.dtype == dtype and out.is_contiguous() and job.rows is None
        bound = Bound(
            out.view(-1) if direct else None,
            None if base is None else base.view(-1),
            [operand.view(-1) for _, operand in operands],
            [key for key, _ in operands],
            [self._known.largest(key, operand) for key, operand in operands],
            0.0 if base is None else self._known.largest((job.name, job.base), base),
            min(torch.finfo(dtype).max, torch.finfo(out.dtype).max),
            self._stays(job),
        )
        if bound.stays:
            self._bound[key] = bound
        return bound

    def _stays(self, job: Job) -> bool:
        """Whether what the job reads lies on the device for good, not made for it alone."""
        taken_from = job.base if job.op.traits.operands == "task_vectors" else None
        found = [self.sources.is_resident(job.base, job.name)] if job.base else []
        if not job.op.traits.solve:
            found += [self.sources.is_resident(e, job.name, taken_from) for e in job.experts]
        return all(found)

    def _operands(
        self, job: Job, formula: Formula
    ) -> tuple[Tensor | None, list[tuple[Key, Tensor]]]:
        """The base that is added to, if any, and each operand with what it is made of."""
        name = job.name
        if job.op.traits.operands == "weights":
            models = [*([job.base] if formula.from_base and job.base else []), *job.experts]
            return None, [((name, model), self.sources.weights(model, name)) for model in models]
        base = str(job.base)
        added = self.sources.weights(base, name)
        if job.op.traits.solve:
            return added, [(solved_key(job), self._solution(job, added.dtype))]
        return added, [
            ((name, expert, base), self.sources.task_vector(expert, base, name))
            for expert in job.experts
        ]

    def _solution(self, job: Job, dtype: torch.dtype) -> Tensor:
        """The merged task vector of scale 1, in the dtype in which task vectors are taken."""
        key = solved_key(job)
        if key not in self._solved:
            self._solved[key] = self._solve(job).to(dtype).contiguous()
        return self._solved[key]

    def _solve(self, job: Job) -> Tensor:
        taus = [
            self.sources.task_vector(expert, str(job.base), job.name).float()
            for expert in job.experts
        ]
        values = checked(job.op, unscaled(job), len(job.experts))
        solve = job.op.traits.solve
        assert solve is not None
        return solve(taus, **keywords(values))

    def _work(self, out: Tensor, bound: Bound, job: Job, formula: Formula) -> tuple[Kernel, Work]:
        base = bound.base
        cuts = out.device.type == "cuda"
        form = variant(formula, len(bound.operands), added=base is not None, cuts=cuts)
        kernel = self.kernels.get(form, out.dtype, out.device)
        ends = []
        if formula.select:
            pairs = zip(bound.keys, bound.operands, strict=True)
            ends = [partial(self._known.end, key, operand) for key, operand in pairs]
        needed = calls(form, formula, out.numel(), ends, Draw(job.seed, job.name))
        return kernel, Work(out, base, bound.operands, list(needed))


@dataclass(frozen=True, slots=True)
class _Facts:
    numel: int
    cosine: Callable[[], float]
