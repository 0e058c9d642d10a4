"""EMR's views of one vector, and the methods that take statistics of the experts' inputs."""

import pytest
import torch
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.methods.emr import unified, view
from merge_ops.task_vectors import mean


def tensors(count: int, m: int, n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(m, n, generator=generator) for _ in range(count)]


def test_emr_views_share_one_vector() -> None:
    experts = [torch.tensor([1.0, -2.0, 3.0, 0.5]), torch.tensor([2.0, 1.0, -4.0, -0.5])]
    whole = unified(experts)
    assert whole.tolist() == [2.0, -2.0, -4.0, -0.5]  # a sum of 0 counts as minus
    mask, rescaler = view(experts[0], whole)
    assert mask.tolist() == [True, True, False, False]
    assert rescaler == pytest.approx(6.5 / 4)


def test_emr_of_an_untrained_expert_is_the_base() -> None:
    base, tau = torch.ones(3, 4), tensors(1, 3, 4)[0]
    merged = merge_tensor("emr", base, [base + tau, base], expert=1)
    assert torch.equal(merged, base)


def test_regmean_fits_the_outputs_and_keeps_the_mean_where_there_are_no_inputs() -> None:
    base, first, second = tensors(3, 4, 6)
    x = [torch.randn(50, 6, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    x = [inputs * torch.tensor([1.0, 1, 1, 1, 1, 0]) for inputs in x]  # the last input is silent
    grams = [inputs.T @ inputs for inputs in x]
    merged = merge_tensor("regmean", base, [first, second], grams=grams, a=1.0)
    torch.testing.assert_close(merged[:, 5], (first + second)[:, 5] / 2)
    stacked = torch.cat(x)
    outputs = torch.cat([x[0] @ first.T, x[1] @ second.T])
    fitted = torch.linalg.lstsq(stacked[:, :5].double(), outputs.double()).solution.T.float()
    torch.testing.assert_close(merged[:, :5], fitted, atol=1e-4, rtol=1e-4)


def test_statistics_that_are_equal_or_zero_give_the_mean() -> None:
    base, *experts = tensors(4, 4, 6)
    gram = torch.eye(6) + 0.1
    zero = torch.zeros(6, 6)
    for grams in ([gram] * 3, [zero] * 3):
        merged = merge_tensor("regmean", base, experts, grams=grams)
        torch.testing.assert_close(merged, mean(experts))
    for fishers in ([torch.full((4, 6), 0.3)] * 3, [torch.zeros(4, 6)] * 3):
        merged = merge_tensor("fisher", base, experts, fishers=fishers)
        torch.testing.assert_close(merged, mean(experts))
