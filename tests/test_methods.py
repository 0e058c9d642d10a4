"""The laws of merge methods; a new method is tested as soon as its file exists."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.registry import MergeOp, all_ops
from merge_ops.task_vectors import task_vectors

OPS = all_ops()
SHAPES: list[tuple[int, ...]] = [
    (),
    (0,),
    (0, 3),
    (1,),
    (1, 1),
    (7,),
    (1, 5),
    (6, 4),
    (3, 5),
    (2, 3, 4),
]
CLOSE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
NARROWER = {"della": {"density": (0.35, 0.65)}, "della_linear": {"density": (0.35, 0.65)}}
POSITIVE = 0.05  # weights of averages that all vanish are refused

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
quick = settings(max_examples=12, deadline=None, database=None, derandomize=True)


@dataclass(frozen=True)
class Call:
    """One call of `merge_tensor`."""

    op: MergeOp
    base: Tensor
    experts: list[Tensor]
    params: dict[str, Any]

    def merged(self, **changed: Any) -> Tensor:
        return merge_tensor(self.op.name, self.base, self.experts, **{**self.params, **changed})


def where(keep: Callable[[MergeOp], object]) -> pytest.MarkDecorator:
    """Run a law over the methods that declare what it is about."""
    return pytest.mark.parametrize("op", [op for op in OPS if keep(op)], ids=lambda op: op.name)


def values(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    x = torch.randn(shape, generator=generator)
    ties, steps = x.round(), (x * 2).round() / 8
    return {"normal": x, "zeros": x * 0, "ties": ties, "steps": steps, "faint": x * 1e-21}[kind]


@st.composite
def calls(
    draw: st.DrawFn,
    op: MergeOp,
    *,
    kinds: tuple[str, ...] = ("normal", "zeros", "ties", "steps", "faint"),
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16),
    shapes: tuple[tuple[int, ...], ...] = tuple(SHAPES),
    few: int = 1,
) -> Call:
    """A base, one to five experts (as the method allows), and knobs from their ranges."""
    count = draw(st.integers(max(op.min_experts, few), op.max_experts or 5))
    shape, dtype = draw(st.sampled_from(shapes)), draw(st.sampled_from(dtypes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    kind = draw(st.sampled_from(kinds))
    base = (torch.randn(shape, generator=generator) * (kind != "faint")).to(dtype)
    experts = [base + values(kind, shape, generator).to(dtype) for _ in range(count)]
    params: dict[str, Any] = {}
    for name, knob in op.knobs.items():
        low, high = NARROWER.get(op.name, {}).get(name, (knob.low, knob.high))
        low = max(low, POSITIVE) if name == "weight" and low == 0 else low
        number = st.floats(low, high)
        params[name] = [draw(number) for _ in range(count)] if knob.per_expert else draw(number)
    params |= statistics(op, base, count, generator)
    return Call(op, base, experts, params)


def statistics(
    op: MergeOp, base: Tensor, count: int, generator: torch.Generator
) -> dict[str, Any]:
    """Random Gram matrices or Fisher diagonals, where the method takes them."""
    if op.traits.statistics == "grams" and base.dim() == 2 and base.numel():
        x = [torch.randn(9, base.shape[1], generator=generator) for _ in range(count)]
        return {"grams": [sample.T @ sample for sample in x]}
    if op.traits.statistics == "fishers":
        return {"fishers": [torch.rand(base.shape, generator=generator) for _ in range(count)]}
    return {}


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    size = max([1.0, *(x.float().abs().max().item() for x in (a, b) if x.numel())])
    return bool(((a.float() - b.float()).abs() <= tolerance * size).all())


@every_op
@quick
@given(data=st.data())
def test_result_is_finite_like_the_base_and_repeats_and_inputs_survive(
    op: MergeOp, data: st.DataObject
) -> None:
    call = data.draw(calls(op))
    tensors = [call.base, *call.experts, *call.params.get(op.traits.statistics or "", [])]
    before = [tensor.clone() for tensor in tensors]
    merged = call.merged()
    assert (merged.shape, merged.dtype) == (call.base.shape, call.base.dtype)
    assert merged.isfinite().all()
    assert torch.equal(merged, call.merged())
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert all(merged.data_ptr() != x.data_ptr() for x in tensors if x.numel())


@where(lambda op: op.keeps("fixed_base"))
@quick
@given(data=st.data())
def test_experts_equal_to_the_base_give_the_base(op: MergeOp, data: st.DataObject) -> None:
    call = data.draw(calls(op))
    still = replace(call, experts=[call.base.clone() for _ in call.experts])
    assert close(still.merged(), call.base, CLOSE[call.base.dtype])
    if op.traits.base_switch:
        assert close(still.merged(**{op.traits.base_switch: True}), call.base, 0.0)


@where(lambda op: op.keeps("symmetric") and op.max_experts != 1)
@quick
@given(data=st.data())
def test_order_of_experts_does_not_matter(op: MergeOp, data: st.DataObject) -> None:
    shapes = ((7,), (6, 4), (3, 5), (2, 3, 4))
    call = data.draw(calls(op, kinds=("normal",), dtypes=(torch.float32,), shapes=shapes, few=2))
    order = data.draw(st.permutations(range(len(call.experts))))
    moved = {
        name: [value[i] for i in order] if isinstance(value, list) else value
        for name, value in call.params.items()
    }
    other = replace(call, experts=[call.experts[i] for i in order], params=moved)
    assert close(call.merged(), other.merged(), 1e-4)


@where(lambda op: op.traits.scale)
@quick
@given(data=st.data())
def test_the_scale_only_multiplies_the_change(op: MergeOp, data: st.DataObject) -> None:
    call = data.draw(calls(op, dtypes=(torch.float32,)))
    scale = str(op.traits.scale)
    assert torch.equal(call.merged(**{scale: 0.0}), call.base)
    once, twice = (call.merged(**{scale: s}) - call.base for s in (0.75, 1.5))
    assert close(2 * once, twice, 1e-5)


@where(lambda op: op.traits.solve)
@quick
@given(data=st.data())
def test_the_solved_change_is_what_the_method_adds(op: MergeOp, data: st.DataObject) -> None:
    shapes = tuple(shape for shape in SHAPES if 0 not in shape)
    call = data.draw(calls(op, dtypes=(torch.float32,), shapes=shapes))
    scale, solve = str(op.traits.scale), op.traits.solve
    assert solve is not None
    others = {name: value for name, value in call.params.items() if name != scale}
    change = solve(task_vectors(call.base, call.experts), **others)
    assert change.dtype == torch.float32
    assert torch.equal(call.base + call.params[scale] * change, call.merged()) or close(
        call.base + call.params[scale] * change, call.merged(), 1e-6
    )


ENDS = [(op, end) for op in OPS for end in op.traits.ends]


@pytest.mark.parametrize(
    ("op", "end"), ENDS, ids=[f"{o.name}-{e.knob}-{e.value}" for o, e in ENDS]
)
@quick
@given(data=st.data())
def test_declared_ends_give_an_input_back(op: MergeOp, end: Any, data: st.DataObject) -> None:
    call = data.draw(calls(op))
    want = call.base if end.gives == "base" else call.experts[0]
    assert close(call.merged(**{end.knob: end.value}), want, CLOSE[call.base.dtype])


@every_op
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is present")
@quick
@given(data=st.data())
def test_the_accelerator_agrees_with_the_cpu(op: MergeOp, data: st.DataObject) -> None:
    call = data.draw(calls(op, kinds=("normal",), dtypes=(torch.float32,), shapes=((6, 4), (7,))))
    moved = {
        name: [v.cuda() for v in value] if name == op.traits.statistics else value
        for name, value in call.params.items()
    }
    experts = [expert.cuda() for expert in call.experts]
    there = replace(call, base=call.base.cuda(), experts=experts, params=moved).merged()
    assert close(there.cpu(), call.merged(), 1e-4)
