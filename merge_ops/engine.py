"""Writing one merged tensor in place: by a kernel if the method has a formula, or as defined."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from merge_ops.formula import Formula
from merge_ops.kernel_calls import calls, variant
from merge_ops.kernels import Kernels
from merge_ops.magnitudes import Place, Ranks, rank
from merge_ops.masks import Draw
from merge_ops.registry import MergeOp, call, keywords
from merge_ops.sources import Sources
from merge_ops.spherical import angle_cosine
from merge_ops.task_vectors import TINY
from merge_ops.tensor_merge import checked

Key = tuple[Any, ...]
"""What an operand is: its place among the operands, then what it is made of."""


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
    """

    name: str
    op: MergeOp
    base: str | None
    experts: Sequence[str]
    values: Mapping[str, Any]
    seed: int


@dataclass(slots=True)
class Engine:
    """Writes jobs; what depends on the models alone is found once and kept.

    Attributes:
        sources: the models beside the live one.
        kernels: what runs formulas.
    """

    sources: Sources
    kernels: Kernels
    _ranks: dict[tuple[str, Key], Ranks] = field(default_factory=dict)
    _cosines: dict[Key, Tensor] = field(default_factory=dict)
    _sizes: dict[tuple[str, Key], float] = field(default_factory=dict)
    _solved: dict[Key, Tensor] = field(default_factory=dict)

    def write(self, out: Tensor, job: Job) -> bool:
        """Write the merged tensor into `out`, in place.

        Args:
            out: a live parameter.
            job: what is merged.

        Returns:
            Whether the magnitudes of what went in prove that no value can be infinite or NaN.

        Raises:
            UserError: parameters that the method refuses.
        """
        values = checked(job.op, job.values, len(job.experts))
        formula = self._formula(job, values, out.numel())
        if formula is None:
            return self._as_defined(out, job, values)
        base, operands = self._operands(job, values, formula)
        tensors = [out, *operands.values(), *([] if base is None else [base])]
        if not all(t.dtype == out.dtype and t.is_contiguous() for t in tensors):
            return self._as_defined(out, job, values)
        self._run(out.view(-1), job, formula, base, operands)
        return self._largest(job, formula, base, operands) <= torch.finfo(out.dtype).max

    def solve(self, job: Job) -> None:
        """Solve and keep what `write` would, if the job's method is one to solve; write nothing.

        Raises:
            UserError: parameters that the method refuses.
        """
        if job.op.traits.solve:
            values = checked(job.op, job.values, len(job.experts))
            self._solution(job, values, self.sources.weights(str(job.base), job.name).dtype)

    def prefetch(self, job: Job) -> None:
        """Start to bring what a job needs to the device."""
        models = job.experts if job.base is None else [job.base, *job.experts]
        self.sources.prefetch(models, job.name)

    def _as_defined(self, out: Tensor, job: Job, values: Mapping[str, Any]) -> bool:
        """The method's own function, tensor by tensor."""
        experts = [self.sources.weights(e, job.name) for e in job.experts]
        base = self.sources.weights(job.base, job.name) if job.base else experts[0]
        draw = {"draw": Draw(job.seed, job.name)} if job.op.random else {}
        out.copy_(call(job.op, base, experts, {**values, **draw}))
        return False

    def _formula(self, job: Job, values: Mapping[str, Any], numel: int) -> Formula | None:
        traits = job.op.traits
        if numel == 0:
            return None
        if traits.solve and traits.scale:
            return Formula([float(values.get(traits.scale, job.op.knobs[traits.scale].default))])
        if traits.formula is None:
            return None
        return traits.formula(_Facts(numel, lambda: self._cosine(job)), **keywords(values))

    def _operands(
        self, job: Job, values: Mapping[str, Any], formula: Formula
    ) -> tuple[Tensor | None, dict[Key, Tensor]]:
        """The base that is added to, if any, and the operands by what they are."""
        if job.op.traits.operands == "weights":
            models = [*([job.base] if formula.from_base and job.base else []), *job.experts]
            return None, {
                (i, model): self.sources.weights(model, job.name) for i, model in enumerate(models)
            }
        base = str(job.base)
        added = self.sources.weights(base, job.name)
        if job.op.traits.solve:
            return added, {solved_key(job, values): self._solution(job, values, added.dtype)}
        return added, {
            (i, expert, base): self.sources.task_vector(expert, base, job.name)
            for i, expert in enumerate(job.experts)
        }

    def _solution(self, job: Job, values: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
        """The merged task vector of scale 1, in the dtype in which task vectors are taken."""
        key = solved_key(job, values)
        if key not in self._solved:
            self._solved[key] = self._solve(job, values).to(dtype).contiguous()
        return self._solved[key]

    def _solve(self, job: Job, values: Mapping[str, Any]) -> Tensor:
        taus = [
            self.sources.task_vector(expert, str(job.base), job.name).float()
            for expert in job.experts
        ]
        others = {key: value for key, value in values.items() if key != job.op.traits.scale}
        solve = job.op.traits.solve
        assert solve is not None
        return solve(taus, **keywords(others))

    def _run(
        self,
        out: Tensor,
        job: Job,
        formula: Formula,
        base: Tensor | None,
        operands: Mapping[Key, Tensor],
    ) -> None:
        flat = {key: operand.view(-1) for key, operand in operands.items()}
        form = variant(formula, len(flat), added=base is not None, cuts=out.device.type == "cuda")
        kernel = self.kernels.get(form, out.dtype, out.device)
        ends = [self._ends(job.name, key, x) for key, x in flat.items()] if formula.select else []
        added = None if base is None else base.view(-1)
        for run in calls(form, formula, out.numel(), ends, Draw(job.seed, job.name)):
            part = slice(run.start, run.stop)
            kernel(
                out[part],
                None if added is None else added[part],
                [x[part] for x in flat.values()],
                torch.tensor(run.numbers, dtype=torch.float32, device=out.device),
                torch.tensor(run.integers, dtype=torch.int32, device=out.device),
            )

    def _ends(self, name: str, key: Key, operand: Tensor) -> Callable[[int], Place]:
        def find(k: int) -> Place:
            known = (name, key[1:])
            if known not in self._ranks:
                self._ranks[known] = rank(operand)
            return self._ranks[known](operand, k)

        return find

    def _cosine(self, job: Job) -> Tensor:
        key = (job.name, str(job.base), job.experts[0])
        if key not in self._cosines:
            ends = (self.sources.weights(model, job.name) for model in key[1:])
            a, b = (end.float().flatten() for end in ends)
            self._cosines[key] = angle_cosine(a, b).cpu()
        return self._cosines[key]

    def _largest(
        self,
        job: Job,
        formula: Formula,
        base: Tensor | None,
        operands: Mapping[Key, Tensor],
    ) -> float:
        """A magnitude that no merged value exceeds; NaN if an input holds one."""
        sizes = [self._size(job.name, key[1:], x) for key, x in operands.items()]
        total = sum(abs(w) * size for w, size in zip(formula.weights, sizes, strict=True))
        total *= abs(formula.scale) / (TINY if formula.shares else 1)
        return total + (0.0 if base is None else self._size(job.name, (str(job.base),), base))

    def _size(self, name: str, key: Key, tensor: Tensor) -> float:
        if (name, key) not in self._sizes:
            self._sizes[name, key] = float(tensor.abs().amax())
        return self._sizes[name, key]


def solved_key(job: Job, values: Mapping[str, Any]) -> Key:
    """All that a solved task vector depends on."""
    others = {key: value for key, value in values.items() if key != job.op.traits.scale}
    return (0, "solved", job.name, job.op.name, job.base, tuple(job.experts), repr(others))


@dataclass(frozen=True, slots=True)
class _Facts:
    numel: int
    cosine: Callable[[], Tensor]
