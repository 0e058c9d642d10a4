"""Laws of the merge methods that drop entries, at random or by magnitude."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merge_ops import merge_tensor
from merge_ops.registry import MergeOp, all_ops
from merge_ops.task_vectors import largest

quick = settings(max_examples=25, deadline=None, database=None, derandomize=True)
kept_op = pytest.mark.parametrize(
    "op", [op for op in all_ops() if op.traits.kept], ids=lambda op: op.name
)
random_op = pytest.mark.parametrize(
    "op", [op for op in all_ops() if op.random], ids=lambda op: op.name
)


@kept_op
@given(n=st.integers(1, 300), density=st.floats(0.01, 1.0), seed=st.integers(0, 2**31))
@quick
def test_exactly_the_declared_number_of_entries_is_kept(
    op: MergeOp, n: int, density: float, seed: int
) -> None:
    tau = torch.randn(n, generator=torch.Generator().manual_seed(seed)).round(decimals=1) + 9.0
    merged = merge_tensor(op.name, torch.zeros(n), [tau], density=density)
    assert op.traits.kept is not None
    assert merged.count_nonzero() == op.traits.kept(n, density)


@random_op
@pytest.mark.parametrize("density", [0.3, 0.7])
def test_random_methods_are_unbiased_over_seeds(op: MergeOp, density: float) -> None:
    tau = torch.linspace(-2.0, 3.0, 40).view(4, 10)
    seeds = 400
    runs = [
        merge_tensor(op.name, torch.zeros(4, 10), [tau], density=density, seed=s, name="w")
        for s in range(seeds)
    ]
    least = density - 0.15 if "epsilon" in op.knobs else density
    deviation = tau.abs() * ((1 / least - 1) / seeds) ** 0.5  # at most, of the mean
    assert ((torch.stack(runs).mean(0) - tau).abs() <= 5 * deviation + 1e-6).all()


@random_op
@quick
@given(seed=st.integers(0, 2**63), low=st.floats(0.2, 0.45), high=st.floats(0.45, 0.8))
def test_masks_are_nested_as_the_density_grows(
    op: MergeOp, seed: int, low: float, high: float
) -> None:
    tau = torch.randn(8, 25, generator=torch.Generator().manual_seed(0))
    few, many = (
        merge_tensor(op.name, torch.zeros(8, 25), [tau], density=d, seed=seed, name="w") != 0
        for d in (low, high)
    )
    assert (few <= many).all()
    assert few.sum() < many.sum() or high - low < 0.05


@random_op
def test_nothing_is_random_at_density_one(op: MergeOp) -> None:
    tau = torch.randn(8, 25, generator=torch.Generator().manual_seed(0))
    runs = [merge_tensor(op.name, torch.zeros(8, 25), [tau], seed=s) for s in (0, 1)]
    assert torch.equal(runs[0], tau)
    assert torch.equal(runs[1], tau)


def test_equal_magnitudes_are_kept_in_the_order_of_their_index() -> None:
    magnitude = torch.tensor([[2.0, 5.0, 2.0], [5.0, 2.0, 1.0]])
    assert largest(magnitude, 3).tolist() == [[True, True, False], [True, False, False]]
    assert largest(magnitude, 2, skip=1).tolist() == [[True, False, False], [True, False, False]]
    assert largest(magnitude, 0).sum() == 0
    assert largest(magnitude, 6).all()


@pytest.mark.parametrize(
    ("method", "n", "density", "kept"),
    [
        ("ties", 10, 0.39, 3),  # int(3.9)
        ("ties", 3, 0.1, 1),  # at least one
        ("ties", 100, 0.29, 28),  # 0.29 * 100 is 28.999999999999996
        ("breadcrumbs", 3, 0.1, 0),
        ("breadcrumbs", 100, 0.29, 28),
        ("localize_and_stitch", 3, 0.1, 1),
    ],
)
def test_counts_are_truncated(method: str, n: int, density: float, kept: int) -> None:
    merged = merge_tensor(method, torch.zeros(n), [torch.arange(1.0, n + 1)], density=density)
    assert merged.count_nonzero() == kept


def test_breadcrumbs_drops_the_largest_and_the_smallest() -> None:
    tau = torch.arange(1.0, 11.0)
    merged = merge_tensor("breadcrumbs", torch.zeros(10), [tau], density=0.5, gamma=0.2)
    assert merged.tolist() == [0, 0, 0, 4, 5, 6, 7, 8, 0, 0]


def test_breadcrumbs_holds_the_density_where_gamma_leaves_no_room() -> None:
    tau = torch.arange(1.0, 11.0)
    merged = merge_tensor("breadcrumbs", torch.zeros(10), [tau], density=0.9, gamma=0.4)
    assert merged.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert torch.equal(merge_tensor("breadcrumbs", torch.zeros(10), [tau], gamma=0.4), tau)


def test_rescale_gives_the_l1_norm_back() -> None:
    tau = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    for method in ("ties", "breadcrumbs", "breadcrumbs_ties"):
        merged = merge_tensor(method, torch.zeros(6, 7), [tau], density=0.3, rescale=True)
        torch.testing.assert_close(merged.abs().sum(), tau.abs().sum())
    for method in ("dare_linear", "dare_ties", "della", "della_linear"):
        merged = merge_tensor(method, torch.zeros(6, 7), [tau], density=0.5, rescale="l1")
        torch.testing.assert_close(merged.abs().sum(), tau.abs().sum())


def test_sce_keeps_the_positions_of_most_variance() -> None:
    one = torch.tensor([1.0, 5.0, 2.0, 0.0, 3.0])
    two = torch.tensor([1.0, 1.0, 4.0, 0.0, 3.5])  # variance at positions 1, 2 and 4
    merged = merge_tensor("sce", torch.zeros(5), [one, two], select_topk=0.7)
    assert merged.nonzero().flatten().tolist() == [1, 2]  # int(0.7 * 3)


def test_sce_counts_as_python_truncates() -> None:
    experts = [torch.arange(1.0, 101.0), torch.zeros(100)]
    merged = merge_tensor("sce", torch.zeros(100), experts, select_topk=0.29)
    assert merged.count_nonzero() == 28  # 0.29 * 100 is 28.999999999999996
