"""What every merge method declares of itself, and that it never waits for the device."""

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from merge_ops import merge_tensor
from merge_ops.registry import MergeOp, all_ops
from merge_ops.task_vectors import mean, task_vectors

every_op = pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
matrix_op = pytest.mark.parametrize(
    "op", [op for op in all_ops() if op.traits.matrices_only], ids=lambda op: op.name
)


@matrix_op
@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4)])
def test_what_is_no_matrix_takes_the_mean(op: MergeOp, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    base, *experts = (torch.randn(shape, generator=generator) for _ in range(4))
    want = base + 0.5 * mean(task_vectors(base, experts))
    got = merge_tensor(op.name, base, experts, **{str(op.traits.scale): 0.5})
    torch.testing.assert_close(got, want)


@every_op
@pytest.mark.parametrize("shape", [(6, 4), (5,), ()])
def test_no_python_decision_hangs_on_a_tensor(op: MergeOp, shape: tuple[int, ...]) -> None:
    """Fake tensors have shapes and no values: `.item()` and `if tensor:` raise on them."""
    with FakeTensorMode():
        count = op.max_experts or 3
        base, *experts = (torch.randn(shape) for _ in range(count + 1))
        params: dict[str, Any] = {
            name: 0.5 for name in ("density", "select_topk") if name in op.knobs
        }
        if op.traits.statistics == "grams" and len(shape) == 2:
            params["grams"] = [torch.randn(4, 4) for _ in experts]
        if op.traits.statistics == "fishers":
            params["fishers"] = [torch.rand(shape) for _ in experts]
        assert merge_tensor(op.name, base, experts, **params).shape == shape


@every_op
def test_a_method_states_its_source_and_the_reasons_of_its_exceptions(op: MergeOp) -> None:
    assert op.paper
    assert op.fn.__doc__
    assert all(len(reason) > 20 for reason in op.traits.breaks.values())
    assert op.traits.scale is None or op.traits.scale in op.knobs
    assert op.traits.base_switch is None or op.traits.base_switch in op.options
    assert op.traits.statistics not in op.parameters()
