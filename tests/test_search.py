"""Spaces, grids, proposers and the final choice."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe, Source
from merge_ops.registry import Value, get_op
from merge_ops.resolving import resolve
from objectives.records import ExampleScore, ScoreSet
from search.auto import advise
from search.depth import Depth, even_bands
from search.dimension import Choice, Coordinate, Dimension
from search.modules import WHOLE, listed
from search.optuna_proposer import distribution
from search.points import uniform
from search.proposer import Proposer
from search.samplers import SAMPLERS, make_proposer, resolve_sampler
from search.selection import confirm, finalists
from search.space import KnobRange, SearchSpace
from search.warm_start import warm_points

DIMENSIONS = [Dimension(f"w{i}", -1.0, 2.0, 1.0) for i in range(5)]


def space(bands: int = 3, *, halves: bool = False, method: str = "ties") -> SearchSpace:
    template = Recipe(method, (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5), "density": KnobRange(0.2, 1.0)}
    if method == "linear":
        ranges = {"weight": KnobRange(0.0, 1.5)}
    if method == "task_arithmetic":
        ranges = {"weight": KnobRange(0.0, 1.5), "lambda": KnobRange(0.5, 1.0)}
    modules = listed(["attention", "mlp"]) if halves else WHOLE
    return SearchSpace(template, ("vlm", "math"), ranges, even_bands(6, bands), modules)


def weight_of(recipe: Recipe, name: str, layer: int | None) -> object:
    return resolve(recipe, get_op(recipe.method), name, layer, 6)["weight"]


def test_a_point_decodes_to_one_value_per_band_and_the_last_for_the_final_norm() -> None:
    one = space(3)
    values = {d.name: i / 100 for i, d in enumerate(one.dimensions())}
    recipe = one.decode(values)
    for layer in range(6):
        band = layer // 2
        expected = [values[f"weight.{label}.{band}"] for label in ("vlm", "math")]
        for part in ("self_attn.q_proj", "mlp.up_proj", "input_layernorm"):
            assert weight_of(recipe, f"model.layers.{layer}.{part}.weight", layer) == expected
    last = [values[f"weight.{label}.2"] for label in ("vlm", "math")]
    assert weight_of(recipe, "model.norm.weight", None) == last


def test_halves_give_attention_and_mlp_their_own_values() -> None:
    one = space(2, halves=True)
    values = {d.name: i / 100 for i, d in enumerate(one.dimensions())}
    recipe = one.decode(values)
    names = {
        "attention": ("self_attn.o_proj.weight", "input_layernorm.weight"),
        "mlp": ("mlp.down_proj.weight", "post_attention_layernorm.weight"),
    }
    for half, parts in names.items():
        for part in parts:
            found = weight_of(recipe, f"model.layers.4.{part}", 4)
            assert found == [values[f"weight.{label}.1.{half}"] for label in ("vlm", "math")]


def test_a_knob_for_all_experts_has_no_owner() -> None:
    names = [d.name for d in space(1, method="task_arithmetic").dimensions()]
    assert names == ["weight.vlm", "weight.math", "lambda"]


@pytest.mark.parametrize(("bands", "count"), [(1, 4), (6, 24)])
def test_the_number_of_dimensions(bands: int, count: int) -> None:
    assert len(space(bands).dimensions()) == count


def test_recipes_of_methods_that_ignore_a_base_name_none() -> None:
    """Mergekit would merge the base too, and then miss its weight."""
    for method, base in (("linear", None), ("task_arithmetic", "base")):
        one = space(method=method)
        point = uniform(one, [0.5, 0.5], {})
        assert point is not None
        assert one.decode(point).base_model == base


def test_spaces_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="bands must lie between 1 and the number of text layers"):
        space(7)
    template = Recipe("ties", (Source("v"),), "base")
    with pytest.raises(UserError, match="no knob 'wieght' to search, did you mean 'weight'"):
        SearchSpace(template, ("v",), {"wieght": KnobRange(0, 1)}, Depth(6))


def test_the_published_grids() -> None:
    one = space(1)
    points = warm_points(["linear_grid", "task_vector_grid", "density_grid"], one)
    pairs = [(p["weight.vlm"], p["weight.math"]) for p in points]
    assert pairs[:2] == [(1.0, 0.0), (0.9, 0.1)]
    assert (0.7, 0.7) in pairs
    assert len(points) == 11 + 11 - 1 + 12  # (0.5, 0.5) stands in both grids of weights
    densities = {p["density.vlm"] for p in points}
    assert densities == {0.2, 0.4, 0.6, 0.8, 1.0}
    assert all(p == q for p, q in zip(points, warm_points(["linear_grid"], one), strict=False))


def test_a_grid_of_weights_is_one_point_where_no_weight_is_searched() -> None:
    template = Recipe("regmean", (Source("v"), Source("m")), target="v")
    one = SearchSpace(template, ("vlm", "math"), {"a": KnobRange(0.0, 1.0)}, Depth(6))
    assert warm_points(["linear_grid", "task_vector_grid"], one) == [{"a": 0.9}]


def trial(
    number: int,
    params: Mapping[str, Value],
    value: float | None,
    tags: dict[str, object],
    dimensions: Sequence[Coordinate] = DIMENSIONS,
) -> FrozenTrial:
    made = create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(params),
        distributions={d.name: distribution(d) for d in dimensions},
        user_attrs=dict(tags),
    )
    made.number = number
    return made


def run(
    make: Callable[[], Proposer],
    count: int,
    score: Callable[[dict[str, Any]], float | None],
    restart_every: int = 10**9,
    dimensions: Sequence[Coordinate] = DIMENSIONS,
) -> list[FrozenTrial]:
    """A search that forgets its proposer every so many trials."""
    trials: list[FrozenTrial] = []
    proposer = make()
    for number in range(count):
        if number % restart_every == 0:
            proposer = make()
        proposal = proposer.propose(trials)
        assert proposal is not None
        value = score(proposal.values)
        trials.append(trial(number, proposal.values, value, dict(proposal.tags), dimensions))
    return trials


def sphere(values: dict[str, float]) -> float:
    return -sum((v - 0.3) ** 2 for v in values.values())


def points(trials: Sequence[FrozenTrial]) -> list[dict[str, float]]:
    return [t.params for t in trials]


def count(name: str, usual: int = 30) -> int:
    """A Gaussian process takes seconds for a few points; ten are drawn before its first."""
    return 12 if name in ("gp", "auto") else usual


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_trials_are_the_only_state(name: str) -> None:
    whole = run(lambda: make_proposer(name, DIMENSIONS, 3, 100), count(name), sphere)
    broken = run(
        lambda: make_proposer(name, DIMENSIONS, 3, 100), count(name), sphere, restart_every=7
    )
    assert points(whole) == points(broken)
    other = run(lambda: make_proposer(name, DIMENSIONS, 4, 100), 12, sphere)
    assert points(other) != points(whole)[:12]


@pytest.mark.parametrize("name", SAMPLERS)
def test_points_lie_in_the_space_and_differ(name: str) -> None:
    found = points(run(lambda: make_proposer(name, DIMENSIONS, 0, 100), count(name), sphere))
    assert all(d.low <= p[d.name] <= d.high for p in found for d in DIMENSIONS)
    again = count(name) - len({tuple(p.values()) for p in found})
    assert again <= (3 if name == "nsga2" else 0)  # a child may be its parent again


@pytest.mark.parametrize("name", ["tpe", "cma", "nsga2"])
def test_a_sampler_beats_random_points_on_a_sphere(name: str) -> None:
    def best(sampler: str, seed: int) -> float:
        trials = run(lambda: make_proposer(sampler, DIMENSIONS, seed), count(name, 80), sphere)
        return max(t.value for t in trials if t.value is not None)

    own, chance = (np.mean([best(n, seed) for seed in range(3)]) for n in (name, "random"))
    assert own > chance / 2  # both are negative: at most half of the loss


def test_a_grid_visits_every_point_once_and_then_ends() -> None:
    two: list[Coordinate] = [*DIMENSIONS[:2], Choice("c", ("x", "y", "z"), "x")]
    proposer = make_proposer("grid", two, 0, 30)
    found: list[FrozenTrial] = []
    while (proposal := proposer.propose(found)) is not None:
        found.append(trial(len(found), proposal.values, 0.0, dict(proposal.tags), two))
    assert len(found) == 3 * 3 * 3
    assert len({tuple(p.values()) for p in points(found)}) == 27
    assert {p["w0"] for p in points(found)} == {-1.0, 0.5, 2.0}
    with pytest.raises(UserError, match="has 12 points, but the budget is 11 trials"):
        make_proposer("grid", two, 0, 11)


def test_a_grid_that_has_begun_is_not_another_with_a_larger_budget() -> None:
    two, found = DIMENSIONS[:2], list[FrozenTrial]()
    small, large = (make_proposer("grid", two, 0, budget) for budget in (9, 100))
    for proposer, count in ((small, 4), (large, 9)):
        while len(found) < count and (proposal := proposer.propose(found)) is not None:
            found.append(trial(len(found), proposal.values, 0.0, {**proposal.tags}, two))
    assert large.propose(found) is None
    assert len({tuple(p.values()) for p in points(found)}) == 9


def test_a_sobol_sequence_fills_the_space_more_evenly_than_chance() -> None:
    def gap(name: str) -> float:
        found = points(
            run(
                lambda: make_proposer(name, DIMENSIONS[:1], 1),
                32,
                sphere,
                dimensions=DIMENSIONS[:1],
            )
        )
        places = sorted(p["w0"] for p in found)
        return max(b - a for a, b in pairwise(places))

    assert gap("qmc") < 0.2 < gap("random")  # of a range of 3: 0.094 apart on average


def test_auto_says_which_sampler_it_takes_and_why() -> None:
    numbers = [Dimension(f"d{i}", 0.0, 1.0, 0.5) for i in range(60)]
    texts = Choice("init", ("a", "b", "c"), "a")
    assert advise(numbers[:12], 100).sampler == "gp"
    assert advise(numbers[:12], 1000).sampler == "cma"
    assert advise(numbers, 100).sampler == "cma"
    assert advise([*numbers[:3], texts], 100).sampler == "tpe"
    assert advise(numbers[:12], 400, objectives=2).sampler == "nsga2"
    assert "12 dimensions and 100 trials" in advise(numbers[:12], 100).reason
    assert resolve_sampler("auto", numbers, 100) == "cma"
    with pytest.raises(UserError, match="those of init have none"):
        resolve_sampler("cma", [texts], 100)
    with pytest.raises(UserError, match="follows one figure, but the study asks for a front of 2"):
        resolve_sampler("cma", numbers, 100, objectives=2)


def test_failed_trials_do_not_stop_cma() -> None:
    def patchy(values: dict[str, float]) -> float | None:
        return None if values["w0"] > 0.8 else sphere(values)

    trials = run(lambda: make_proposer("cma", DIMENSIONS, 1), 60, patchy)
    early = [t for t in trials[:16] if t.value is None]
    late = [t for t in trials[-16:] if t.value is None]
    assert len(late) < len(early)
    assert all(math.isfinite(v) for t in trials for v in t.params.values())


def run_from(known: list[FrozenTrial], seed: int, count: int) -> list[FrozenTrial]:
    """So many trials of CMA-ES behind those that are known."""
    trials, proposer = list(known), make_proposer("cma", DIMENSIONS, seed)
    for _ in range(count):
        proposal = proposer.propose(trials)
        assert proposal is not None
        trials.append(trial(len(trials), proposal.values, 0.0, dict(proposal.tags)))
    return trials


@pytest.mark.parametrize("dimensions", [80, 220])
def test_large_searches_are_rebuilt_from_their_trials_too(dimensions: int) -> None:
    many = [Dimension(f"w{i}", -1.0, 2.0, 1.0) for i in range(dimensions)]
    whole, broken = (
        run(lambda: make_proposer("cma", many, 3), 40, sphere, restart, many)
        for restart in (10**9, 17)
    )
    assert points(whole) == points(broken)


def test_a_converged_cma_begins_again_at_the_best_with_twice_the_population() -> None:
    def step(values: dict[str, float]) -> float:
        return round(sphere(values), 1)  # flat near the best: the strategy soon stops

    whole = run(
        lambda: make_proposer("cma", DIMENSIONS[:2], 0), 260, step, dimensions=DIMENSIONS[:2]
    )
    sizes = Counter(t.user_attrs["cma_generation"] for t in whole)
    assert {sizes[0], 2 * sizes[0]} <= set(sizes.values())
    broken = run(
        lambda: make_proposer("cma", DIMENSIONS[:2], 0), 260, step, 90, dimensions=DIMENSIONS[:2]
    )
    assert points(whole) == points(broken)


def test_cma_begins_at_the_best_point_that_it_did_not_propose() -> None:
    best = {d.name: 1.7 for d in DIMENSIONS}
    known = [trial(0, dict.fromkeys(best, 0.0), 0.1, {}), trial(1, best, 0.9, {})]
    proposals = [make_proposer("cma", DIMENSIONS, s).propose(known) for s in range(20)]
    injected = np.array([list(p.values.values()) for p in proposals if p is not None])
    assert injected.std(0).max() < 0.3  # the second best, moved towards the start
    later = [run_from(known, s, 4)[-1].params for s in range(20)]
    first = np.array([list(params.values()) for params in later])
    assert first.mean() == pytest.approx(1.5, abs=0.25)  # folded back at the bound of 2


def numbered(values: list[float | None]) -> list[FrozenTrial]:
    params = {d.name: 0.0 for d in DIMENSIONS}
    return [trial(i, params, v, {"digest": f"d{i % 4}"}) for i, v in enumerate(values)]


def test_finalists_are_the_best_of_different_recipes() -> None:
    found = finalists(numbered([0.1, 0.5, None, 0.2, 0.9, 0.5]), 3)
    assert [t.number for t in found] == [4, 1, 3]  # trial 5 is trial 1's recipe again


def test_the_winner_is_chosen_on_the_confirm_split_alone() -> None:
    confirmed = {0: 0.8, 1: 0.3, 2: 0.8, 3: 0.1}

    def score(one: FrozenTrial) -> list[ScoreSet]:
        return [ScoreSet("o", "micro", 1.0, (ExampleScore("x", confirmed[one.number], "c"),))]

    ranked = confirm(numbered([0.5, 0.9, 0.6, 0.7]), 4, score)
    assert [c.trial.number for c in ranked] == [0, 2, 1, 3]  # equals: the earlier trial first
    assert ranked[0].selection == 0.5
