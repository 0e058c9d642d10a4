"""One test for each trap found in released code; named after it, in the notes' order.

Of the notes: a preference won by a constant or NaN scorer; TIES whose equal weights cancel; a
DARE whose rescaling is lost, one that mutates its expert, sparsifiers that keep nothing of small
tensors; TSV that silently averages; WUDI-v2 in float16; an anchored pattern that misses
`model.visual.*`; experts in the order of a set; signs elected by unweighted task vectors. Behind
them stand traps found later.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from merge_ops import merge_tensor
from merge_ops.methods.optmerge import solve_optmerge
from merge_ops.methods.tsv import solve_tsv
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.resolving import lookup
from merge_ops.task_vectors import mean, task_vectors
from merge_ops.tensors import share
from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.evaluation import score_all
from objectives.preference import Preference
from tests.family_processors import tiny_live


def tensors(count: int, *shape: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


class Constant(nn.Module):
    """A score head that says the same of everything."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.full((len(hidden), 1), self.value)


@pytest.fixture
def pairs() -> Preference:
    """Five pairs."""
    texts = {"chosen": "w7 w8", "rejected": "w9"}
    examples = [Example(f"e{i}", f"w{i}", (), texts, "all") for i in range(5)]
    return Preference("p", {"test": examples})


def test_a_constant_scorer_wins_no_preference(pairs: Preference) -> None:
    live = replace(tiny_live("llava"), score_head=Constant(1.0))
    assert score_all(pairs, live, "test").value() == 0.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_scorer_that_is_not_finite_wins_no_preference(pairs: Preference, value: float) -> None:
    live = replace(tiny_live("llava"), score_head=Constant(value))
    with pytest.raises(ObjectiveError, match=r"p: e\d: its score is"):
        score_all(pairs, live, "test")


def test_ties_with_equal_weights_and_normalize_is_one_model() -> None:
    base, *experts = tensors(4, 6, 5)
    models = [merge_tensor("ties", base, experts, weight=w, density=0.5) for w in (0.3, 1.0, 1.7)]
    torch.testing.assert_close(models[0], models[1])
    torch.testing.assert_close(models[0], models[2])
    free = [
        merge_tensor("ties", base, experts, weight=w, density=0.5, normalize=False)
        for w in (0.3, 1.0)
    ]
    assert not torch.allclose(free[0], free[1])


def test_dare_rescale_is_not_discarded() -> None:
    base, expert = torch.zeros(400), torch.ones(400)
    merged = merge_tensor("dare_linear", base, [expert], density=0.25, seed=3)
    assert set(merged.tolist()) == {0.0, 4.0}
    plain = merge_tensor("dare_linear", base, [expert], density=0.25, seed=3, rescale=False)
    assert torch.equal(plain * 4, merged)


def test_dare_does_not_mutate_its_expert() -> None:
    base, expert = tensors(2, 20, 20)
    before = expert.clone()
    for method in ("dare_linear", "dare_ties", "della", "della_linear"):
        merge_tensor(method, base, [expert], density=0.5)
        assert torch.equal(expert, before)


def test_sparsifiers_do_not_round_small_tensors_to_nothing() -> None:
    tau = torch.arange(1.0, 51.0)  # 50 entries: int(gamma n) is 0, where mergekit 0.1.4 keeps none
    for method in ("breadcrumbs", "breadcrumbs_ties"):
        merged = merge_tensor(method, torch.zeros(50), [tau], density=0.5, gamma=0.01)
        assert merged.nonzero().flatten().tolist() == list(range(25, 50))
    assert merge_tensor("ties", torch.zeros(2), [tau[:2]], density=0.05).count_nonzero() == 1


def test_tsv_does_not_silently_average() -> None:
    base, *experts = tensors(4, 8, 6)
    taus = task_vectors(base, experts)
    assert not torch.allclose(solve_tsv(taus), mean(taus), atol=0.1)


def test_optmerge_is_never_optimised_in_float16() -> None:
    base, *experts = (x.half() for x in tensors(4, 8, 6))
    taus = task_vectors(base, experts)
    for variant in ("lora", "full"):
        change = solve_optmerge(taus, variant=variant)
        assert change.dtype == torch.float32
        merged = merge_tensor("optmerge", base, experts, variant=variant)
        assert torch.equal(merged, (base.float() + change).half())
    # The 300 steps of 1e-5 are lost in float16; here they move the start.
    start = mean(taus) * 3
    assert 1e-4 < (solve_optmerge(taus, variant="full") - start).abs().max() < 4e-3


def test_an_anchored_pattern_does_not_miss_the_vision_tower() -> None:
    """`^visual` in a released code missed `model.visual.*`, and merged the tower."""
    text: dict[str, Any] = {
        "vocab_size": 32,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2}
    vlm: Any = Qwen2VLForConditionalGeneration
    expert: Any = Qwen2ForCausalLM
    target = vlm(Qwen2VLConfig(text_config=text, vision_config=vision))
    tower = [name for name, _ in target.named_parameters() if name.startswith("model.visual.")]
    assert tower
    merged = share([target, expert(Qwen2Config(**text))])
    assert not {merged.names[0][t.name] for t in merged.tensors} & set(tower)
    # Between VLMs of one class the tower is shared, and left out by any part of its name.
    both = [t.name for t in share([target, target]).tensors]
    recipe = Recipe("linear", (Source("a"), Source("b")), exclude=("visual",))
    assert sum(recipe.excludes(name) for name in both) == len(tower)
    setting = (Entry("visual", 0.0), Entry(None, 1.0))
    assert [lookup(setting, name, None, 2) for name in both].count(0.0) == len(tower)


def test_expert_order_is_that_of_the_list() -> None:
    base, *experts = tensors(4, 6, 5)
    for i in range(3):
        turned = experts[i:] + experts[:i]
        first = merge_tensor("emr", base, turned, expert=0)
        torch.testing.assert_close(first, merge_tensor("emr", base, experts, expert=i))
    weights = [0.2, 0.5, 0.9]
    forward = merge_tensor("task_arithmetic", base, experts, weight=weights)
    backward = merge_tensor("task_arithmetic", base, experts[::-1], weight=weights[::-1])
    torch.testing.assert_close(forward, backward)
    assert not torch.allclose(
        forward, merge_tensor("task_arithmetic", base, experts[::-1], weight=weights)
    )


def test_sign_election_is_weighted() -> None:
    base = torch.zeros(1)
    experts = [torch.tensor([1.0]), torch.tensor([-0.6])]  # unweighted sum: plus
    for method in ("ties", "dare_ties", "della", "breadcrumbs_ties"):
        merged = merge_tensor(method, base, experts, weight=[0.2, 1.0], density=1.0)
        assert merged < 0, method


def test_entries_that_cancel_elect_plus_and_a_zero_agrees_with_nobody() -> None:
    base = torch.zeros(2)
    experts = [torch.tensor([0.3, 0.0]), torch.tensor([-0.3, -0.7])]
    merged = merge_tensor("ties", base, experts, weight=0.7)
    torch.testing.assert_close(merged, torch.tensor([0.3, -0.7]))


def test_consensus_compares_task_vectors_not_weights() -> None:
    base, *taus = tensors(4, 6, 5)
    near = merge_tensor("consensus_ta", base * 0, taus)
    far = merge_tensor("consensus_ta", base * 100, [base * 100 + tau for tau in taus])
    torch.testing.assert_close(near, far - base * 100, atol=1e-4, rtol=0)


def test_della_keeps_large_entries_more_often_within_each_row() -> None:
    small, large = torch.full((30, 40), 0.1), torch.full((30, 40), 1.0)
    tau = torch.cat([small, large], dim=1) * torch.arange(1, 31)[:, None]
    kept = merge_tensor("della_linear", tau * 0, [tau], density=0.5, epsilon=0.3) != 0
    assert kept[:, :40].float().mean() < 0.45 < 0.55 < kept[:, 40:].float().mean()
    assert (kept.float().mean(1) - 0.5).abs().max() < 0.25  # by rank in the row, not in the tensor


def test_all_zero_task_vectors_do_not_raise() -> None:
    base = tensors(1, 3, 4)[0]
    merged = merge_tensor("multislerp", base, [base.clone() for _ in range(3)], task_vectors=True)
    assert torch.equal(merged, base)


def test_slerp_takes_the_base_as_the_end_at_zero() -> None:
    base, expert = tensors(2, 5, 4)
    merged = merge_tensor("slerp", base, [expert], t=0.1)
    assert (merged - base).norm() < (merged - expert).norm()


def test_nuslerp_row_wise_works_along_the_first_dimension() -> None:
    base, *experts = tensors(3, 4, 6)
    params = {"weight": [0.3, 0.7], "nuslerp_flatten": False}
    plain = merge_tensor("nuslerp", base, experts, **params)
    turned = merge_tensor(
        "nuslerp", base.T, [e.T for e in experts], **params, nuslerp_row_wise=True
    )
    torch.testing.assert_close(plain, turned.T)
