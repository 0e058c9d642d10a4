"""Searching short lists of values: spaces, samplers, and task vectors that are solved once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from merge_ops.engine import Engine
from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.registry import Value
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.solving import Solvable
from search.depth import Depth, even_bands
from search.dimension import Choice, Coordinate, Dimension
from search.points import solutions
from search.proposer import unit_to_value, value_to_unit
from search.samplers import SAMPLERS, make_proposer
from search.space import KnobRange, SearchSpace
from search.warm_start import GRIDS, warm_points
from tests.test_search import points, run

CHOICES: dict[str, tuple[Value, ...]] = {
    "t": (100.0, 1000.0, 300.0),
    "init": ("mean", "zero"),
    "lambda": (0.5, 1.0),
}
MIXED: list[Coordinate] = [
    Dimension("w", -1.0, 2.0, 1.0),
    Choice("t", (100.0, 1000.0, 300.0), 300.0),
    Choice("init", ("sum", "mean"), "sum"),
]


def space(choices: dict[str, tuple[Value, ...]], method: str = "swudi") -> SearchSpace:
    template = Recipe(method, (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5)} if method == "ties" else {}
    return SearchSpace(template, ("vlm", "math"), ranges, Depth(6), choices=choices)


def test_a_point_puts_its_listed_values_into_the_recipe() -> None:
    recipe = space(CHOICES).decode({"t": 1000.0, "init": "zero", "lambda": 0.5})
    assert {k: s[0].value for k, s in recipe.parameters.items()} == {
        "t": 1000.0,
        "init": "zero",
        "lambda": 0.5,
    }
    weights = {"weight.vlm": 0.4, "weight.math": 0.6}
    switched = space({"normalize": (True, False)}, "ties").decode(weights | {"normalize": False})
    assert switched.parameters["normalize"] == (Entry(None, False),)
    assert switched.models[1].parameters["weight"] == (Entry(None, 0.6),)


def test_a_search_begins_at_the_methods_default_or_at_the_first_value() -> None:
    assert {d.name: d.default for d in space(CHOICES).dimensions()} == {
        "t": 300.0,
        "init": "mean",
        "lambda": 1.0,
    }


def test_every_combination_but_the_scale_is_solved() -> None:
    found = [r.parameters for r in solutions(space(CHOICES))]
    pairs = [(p["t"][0].value, p["init"][0].value) for p in found]
    assert pairs == [(t, i) for t in (100.0, 1000.0, 300.0) for i in ("mean", "zero")]
    assert solutions(space({"normalize": (True, False)}, "ties")) == []


def test_a_search_without_any_list_solves_its_one_task_vector() -> None:
    template = Recipe("tsv", (Source("v"),), "base")
    one = SearchSpace(template, ("vlm",), {"alpha": KnobRange(0.5, 1.5)}, even_bands(6, 2))
    assert len(solutions(one)) == 1


def test_grids_keep_the_lists_at_their_defaults_and_hold_no_point_twice() -> None:
    assert warm_points(list(GRIDS), space(CHOICES)) == [
        {"t": 300.0, "init": "mean", "lambda": 1.0}
    ]
    grid = warm_points(["linear_grid"], space({"normalize": (False, True)}, "ties"))
    assert len(grid) == 11
    assert {p["normalize"] for p in grid} == {True}


def best_at(values: dict[str, Any]) -> float:
    """Highest at t = 1000 from the mean."""
    far = {100.0: 2.0, 300.0: 1.0, 1000.0: 0.0}[values["t"]]
    loss: float = (values["w"] - 0.3) ** 2 + far + (values["init"] == "sum")
    return -loss


@pytest.mark.parametrize("name", SAMPLERS)
def test_lists_are_searched_and_the_trials_are_the_only_state(name: str) -> None:
    count = 24 if name == "gp" else 40
    whole = run(lambda: make_proposer(name, MIXED, 3), count, best_at, dimensions=MIXED)
    first = 14 if name == "gp" else count
    broken = run(
        lambda: make_proposer(name, MIXED, 3), first, best_at, restart_every=7, dimensions=MIXED
    )
    assert points(whole)[:first] == points(broken)
    if name in ("cma", "auto"):
        return  # values behind worse ones are seldom found (docs/log.md)
    for choice in MIXED[1:]:
        assert isinstance(choice, Choice)
        taken = {t.params[choice.name] for t in whole}
        assert taken == set(choice.values)
    found = max(whole, key=lambda t: t.value or -9.0)
    assert (found.params["t"], found.params["init"]) == (1000.0, "mean")


def test_cma_never_settles_on_one_value_for_good() -> None:
    trials = run(lambda: make_proposer("cma", MIXED, 0), 400, best_at, dimensions=MIXED)
    late = trials[-150:]
    assert len({t.params["t"] for t in late}) > 1
    assert sum(t.params["t"] == 1000.0 for t in late) > 75


def test_numbers_are_coordinates_in_their_own_order() -> None:
    choice = MIXED[1]
    assert [unit_to_value(choice, u) for u in (0.0, 0.3, 0.4, 0.7, 1.0)] == [
        100.0,
        100.0,
        300.0,
        1000.0,
        1000.0,
    ]
    for value in (100.0, 300.0, 1000.0):
        assert unit_to_value(choice, value_to_unit(choice, value)) == value
    with pytest.raises(ValueError, match="three or more texts have no order"):
        unit_to_value(Choice("init", ("sum", "mean", "zero"), "sum"), 0.5)


def lists_of(models: dict[str, str]) -> list[Recipe]:
    """The same merge for two times and two starts."""
    sources = tuple(Source(models[name]) for name in ("a", "b"))
    template = Recipe("swudi", sources, models["base"], dtype="float32")
    choices: dict[str, tuple[Value, ...]] = {"t": (100.0, 900.0), "init": ("sum", "mean")}
    found = solutions(SearchSpace(template, ("a", "b"), {}, Depth(3), choices=choices))
    assert len(found) == 4
    return found


def bits(resident: ResidentModel) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in resident.module.parameters()]


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tensors that are solved, as it happens."""
    names: list[str] = []
    real = Engine._solve

    def counting(self: Engine, job: Any) -> torch.Tensor:
        names.append(job.name)
        return real(self, job)

    monkeypatch.setattr(Engine, "_solve", counting)
    return names


def test_after_preparing_no_candidate_solves_anything(
    llamas: dict[str, str], solved: list[str]
) -> None:
    recipes = lists_of(llamas)
    resident = load_resident(recipes[0], Runtime(), solutions=len(recipes))
    before = bits(resident)
    resident.prepare(recipes)
    assert bits(resident) == before
    assert len(solved) == len(recipes) * len(resident.merged_names)
    solved.clear()
    scale = (Entry("mlp", 0.4), Entry(None, 0.9))
    for recipe in recipes:
        resident.become(replace(recipe, parameters={**recipe.parameters, "lambda": scale}))
        assert not solved
        fresh = load_resident(recipe, Runtime())
        fresh.become(replace(recipe, parameters={**recipe.parameters, "lambda": scale}))
        assert bits(fresh) == bits(resident)
        solved.clear()


def test_what_is_solved_can_be_followed_one_shape_after_the_other(llamas: dict[str, str]) -> None:
    recipes = lists_of(llamas)
    resident = load_resident(recipes[0], Runtime())
    seen: list[Solvable] = []

    def follow(work: Sequence[Solvable]) -> Sequence[Solvable]:
        seen.extend(work)
        return work

    resident.prepare(recipes, follow)
    shapes = {one.shape for one in seen}
    assert {one.shape for one in seen[: len(shapes)]} == shapes
    size = sum(p.numel() * 4 for p in resident.module.parameters())
    assert sum(one.size for one in seen) == len(recipes) * size
    resident.prepare([replace(recipes[0], method="linear", parameters={})], follow)
    assert sum(one.size for one in seen) == len(recipes) * size


def test_the_plan_counts_every_combination(llamas: dict[str, str]) -> None:
    recipe = lists_of(llamas)[0]
    lines: list[str] = []
    for count in (1, 4):
        load_resident(recipe, Runtime(report=lines.append), solutions=count)
    rows = [row for text in lines for row in text.splitlines() if "solved" in row]
    assert [" x 4 " in row for row in rows] == [False, True]
    with pytest.raises(UserError, match=r"solved task vectors x 4 .* use fewer choices, a small"):
        load_resident(recipe, Runtime(memory=1000), solutions=4)
