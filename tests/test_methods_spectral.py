"""The spectral merge methods: optimality, limits, ranks, and tensors that lack rank."""

import math

import pytest
import torch
from torch import Tensor

from merge_ops.methods.iso_c import solve_iso_c
from merge_ops.methods.optmerge import solve_optmerge
from merge_ops.methods.swudi import solve_aswudi, solve_swudi
from merge_ops.methods.tsv import solve_tsv
from merge_ops.methods.wudi import solve_wudi
from merge_ops.spectral import (
    Spectrum,
    eigenvalues,
    filtered,
    normal_matrices,
    polar,
    share_of_rank,
    spectrum,
    svd,
)
from merge_ops.spectral_rank import RULES, effective_rank
from merge_ops.task_vectors import mean


def taus(count: int, m: int, n: int, rank: int | None = None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    if rank is None:
        return [torch.randn(m, n, generator=generator) for _ in range(count)]
    pairs = [
        (torch.randn(m, rank, generator=generator), torch.randn(rank, n, generator=generator))
        for _ in range(count)
    ]
    return [a @ b for a, b in pairs]


def interference(tau: Tensor, experts: list[Tensor]) -> float:
    """The WUDI objective, in float64."""
    exact = [expert.double() for expert in experts]
    return sum(float(((tau - t) @ t.T).square().sum() / t.square().sum()) for t in exact)


def test_closed_form_is_the_optimum_and_adam_approaches_it() -> None:
    experts = taus(3, 6, 9)
    best = solve_wudi(experts)
    few, many = (solve_wudi(experts, solver="adam", steps=s, lr=1e-2) for s in (30, 600))
    start = experts[0] + experts[1] + experts[2]
    losses = [interference(x, experts) for x in (best, many, few, start)]
    assert losses == sorted(losses)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    exact = [tau.double() for tau in experts]
    c, d = normal_matrices(exact, exact, [tau.square().sum() for tau in exact])
    torch.testing.assert_close(best.double() @ c, d, atol=1e-6, rtol=1e-5)


def test_closed_form_does_not_answer_a_conflict_in_the_rounding_noise() -> None:
    """Three experts on the same two rows: outside these, float32 has noise and nothing else."""
    rows = taus(1, 2, 20)[0]
    experts = [tau @ rows for tau in taus(3, 8, 2)]
    assert solve_wudi(experts).abs().max() < 10 * max(tau.abs().max() for tau in experts)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_closed_form_of_low_rank_keeps_to_the_rows_of_the_experts(shape: tuple[int, int]) -> None:
    experts = taus(2, *shape, rank=2)
    best = solve_wudi(experts)
    assert best.isfinite().all()
    rows = svd(torch.cat(experts))[2].float()
    torch.testing.assert_close(best @ rows.T @ rows, best, atol=1e-5, rtol=1e-4)
    assert interference(best, experts) <= interference(experts[0] + experts[1], experts)


def test_one_expert_is_its_own_optimum() -> None:
    (tau,) = taus(1, 5, 8)
    for change in (
        solve_wudi([tau]),
        solve_swudi([tau], t=50.0, r=1.0),
        solve_aswudi([tau]),
        solve_tsv([tau]),
        solve_optmerge([tau], variant="lora"),
    ):
        torch.testing.assert_close(change, tau, atol=1e-4, rtol=1e-4)


def test_swudi_goes_from_its_start_to_the_optimum() -> None:
    experts = taus(3, 12, 8)
    still = solve_swudi(experts, t=1e-9, r=1.0, init="mean")
    torch.testing.assert_close(still, mean(experts), atol=1e-5, rtol=1e-5)
    ends = [solve_swudi(experts, t=1e6, r=1.0, init=init) for init in ("sum", "mean", "zero")]
    for end in ends:
        torch.testing.assert_close(end, solve_wudi(experts), atol=1e-4, rtol=1e-4)
    whole = solve_aswudi(experts, rule="cumvar_1.0", init="zero")
    torch.testing.assert_close(whole, solve_wudi(experts), atol=1e-4, rtol=1e-4)


def test_swudi_needs_no_more_steps_than_adam_for_a_lower_loss() -> None:
    experts = [tau * 1e-3 for tau in taus(3, 24, 40)]
    adam = solve_wudi(experts, solver="adam")
    assert interference(solve_swudi(experts, t=2000.0, r=1.0), experts) <= interference(
        adam, experts
    )


@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_smaller_gram_matrix_gives_what_the_larger_does(rank: int | None, count: int) -> None:
    experts = [1e-3 * tau for tau in taus(count, 40, 200, rank)]
    norms = [tau.square().sum() for tau in experts]
    start = mean(experts) * count
    c, whole = normal_matrices(experts, experts, norms, start)
    found = spectrum(experts, norms, start)
    assert found.rows is not None
    assert found.vectors.shape == (40 * count, 40 * count)
    torch.testing.assert_close(found.ahead @ found.rows, whole, atol=1e-9, rtol=1e-4)
    torch.testing.assert_close(found.values, eigenvalues(c)[0], atol=1e-6, rtol=1e-4)
    exact = [tau.double() for tau in experts]
    for t in (300.0, 2000.0):
        values, v = eigenvalues(normal_matrices(exact, exact, [n.double() for n in norms])[0])
        gain = -torch.expm1(-values.clamp_min(1e-8) * t) / values.clamp_min(1e-8)
        expected = filtered(start.double(), Spectrum(values, v, whole.double()), gain)
        merged = solve_swudi(experts, t=t, r=1.0).double()
        assert (merged - expected).abs().max() <= 2e-4 * expected.abs().max()


def test_tsv_of_orthogonal_experts_is_their_sum() -> None:
    a, b = torch.zeros(6, 8), torch.zeros(6, 8)
    a[:3, :4], b[3:, 4:] = taus(2, 3, 4)
    torch.testing.assert_close(solve_tsv([a, b]), a + b, atol=1e-5, rtol=1e-5)


def test_tsv_of_the_same_expert_twice_is_not_made_up() -> None:
    """The decomposition of the doubled directions is half arbitrary; that half is left out."""
    (tau,) = taus(1, 6, 8)
    u, s, vt = svd(tau)
    half = (u[:, :3] * s[:3]) @ vt[:3]
    torch.testing.assert_close(solve_tsv([tau, tau]), half.float(), atol=1e-5, rtol=1e-5)


def test_tsv_keeps_one_direction_of_more_experts_than_ranks() -> None:
    experts = taus(5, 2, 7)
    assert share_of_rank(experts[0], 1 / 5) == 1
    assert share_of_rank(torch.empty(49, 98), 1 / 49) == 1
    assert share_of_rank(torch.empty(24, 40), 1 / 3) == 8
    assert solve_tsv(experts).abs().sum() > 0


def test_iso_c_has_a_flat_spectrum() -> None:
    experts = taus(3, 6, 9)
    values = torch.linalg.svdvals(solve_iso_c(experts))
    total = experts[0] + experts[1] + experts[2]
    torch.testing.assert_close(values, torch.linalg.svdvals(total).mean().expand(6))


def test_iso_c_leaves_null_directions_null() -> None:
    experts = taus(2, 6, 9, rank=1)
    values = torch.linalg.svdvals(solve_iso_c(experts))
    assert (values > 1e-4).sum() == 2
    torch.testing.assert_close(values[0], torch.linalg.svdvals(experts[0] + experts[1]).sum() / 6)


def test_polar_is_orthonormal() -> None:
    (tall,) = taus(1, 9, 4)
    factor = polar(tall)
    torch.testing.assert_close(factor.T @ factor, torch.eye(4, dtype=factor.dtype))


def test_optmerge_rank_share() -> None:
    experts = taus(2, 6, 9)
    third = solve_optmerge(experts, variant="lora", rank_share=0.5)
    assert torch.equal(third, solve_optmerge(experts, variant="lora"))
    assert not torch.equal(third, solve_optmerge(experts, variant="lora", rank_share=1.0))


SPECTRUM = torch.tensor([4.0, 1.0, 0.25, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "rank"),
    [
        ("participation_sqrt", 3),  # (2 + 1 + .5 + .5)^2 / 5.5 = 2.91
        ("stable_rank", 2),  # 17.125 / 16 = 1.07
        ("entropy", 3),  # exp(0.822) = 2.28
        ("cumvar_0.7", 1),  # 4 / 5.5 = 0.727
        ("cumvar_0.8", 2),
        ("cumvar_1", 4),
        ("gavish_donoho", 2),  # sqrt L above 1.195 x their lower median, 0.5
    ],
)
def test_rank_rules_by_hand(rule: str, rank: int) -> None:
    assert effective_rank(SPECTRUM, rule, (4, 4)) == rank


def test_every_rule_finds_at_least_one() -> None:
    flat = torch.full((6,), 1e-8, dtype=torch.float64)
    for rule in (*RULES, "cumvar_0.01"):
        assert 1 <= effective_rank(flat, rule, (3, 6)) <= 6


def test_eigenvalues_come_largest_first() -> None:
    values, vectors = eigenvalues(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
    assert values.tolist() == [3.0, 2.0, 1.0]
    torch.testing.assert_close(vectors.abs(), torch.eye(3)[[1, 2, 0]].T)


def test_gavish_donoho_threshold_of_a_square_matrix() -> None:
    """4 / sqrt(3), the published threshold for known noise, over mu = sqrt(2 + sqrt(3))."""
    y = torch.tensor([1.21, 1.19, 1.0, 1.0, 1.0], dtype=torch.float64)
    assert 4 / math.sqrt(3) / math.sqrt(2 + math.sqrt(3)) == pytest.approx(1.1954, abs=1e-4)
    assert effective_rank(y.square(), "gavish_donoho", (5, 5)) == 1
