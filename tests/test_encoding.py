"""Recipes as warm starts: of the same study, of other spaces, of sibling models."""

import pytest

from merge_ops.recipe import Recipe, Source
from merge_ops.registry import Value
from search.depth import Depth, even_bands
from search.encoding import encode
from search.modules import WHOLE, Module, listed
from search.space import KnobRange, SearchSpace

PARTS = ("self_attn.q_proj", "mlp.up_proj", "input_layernorm")


def names(layers: int) -> tuple[str, ...]:
    inner = [f"model.layers.{i}.{part}.weight" for i in range(layers) for part in PARTS]
    return (*inner, "model.norm.weight")


def space(
    depth: Depth,
    modules: tuple[Module, ...] = WHOLE,
    *,
    coupled: str = "free",
    method: str = "ties",
    models: tuple[str, ...] = ("v", "m"),
    choices: dict[str, tuple[Value, ...]] | None = None,
) -> SearchSpace:
    template = Recipe(method, tuple(map(Source, models)), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.0, coupled=coupled)}  # type: ignore[arg-type]
    return SearchSpace(
        template, ("a", "b"), ranges, depth, modules, names(depth.layers), choices or {}
    )


@pytest.mark.parametrize("coupled", ["free", "shared", "simplex"])
@pytest.mark.parametrize(
    "depth",
    [Depth(6), even_bands(6, 3), Depth(6, (0, 1, 5)), Depth(6, points=4), even_bands(6, 6)],
)
def test_a_recipe_of_the_same_space_is_its_own_point(depth: Depth, coupled: str) -> None:
    one = space(depth, listed(["attention", "mlp"]), coupled=coupled)
    point = {d.name: (7 * i % 10) / 10 for i, d in enumerate(one.dimensions())}
    found = encode(one, one.decode(point))
    assert found == pytest.approx(point, abs=1e-9 if not depth.points else 0.35)
    if not depth.points:
        assert one.decode(found).digest() == one.decode(point).digest() or coupled == "simplex"


def test_finer_bands_take_the_coarse_ones_values() -> None:
    coarse, fine = space(even_bands(6, 2)), space(even_bands(6, 6))
    point = {"weight.a.0": 0.2, "weight.a.1": 0.8, "weight.b.0": 0.4, "weight.b.1": 0.6}
    found = encode(fine, coarse.decode(point))
    assert [found[f"weight.a.{i}"] for i in range(6)] == [0.2] * 3 + [0.8] * 3
    back = encode(coarse, fine.decode(found))
    assert back == pytest.approx(point)


def test_a_sibling_with_more_layers_and_other_models_keeps_the_shape() -> None:
    small = space(even_bands(4, 4))
    large = space(even_bands(8, 4), models=("V", "M"))
    point = {f"weight.{e}.{i}": w for e in "ab" for i, w in enumerate([0.0, 0.3, 0.6, 0.9])}
    found = encode(large, small.decode(point))
    for e in "ab":
        rising = [float(found[f"weight.{e}.{i}"]) for i in range(4)]
        assert rising == sorted(rising)
        assert rising[0] < 0.1
        assert rising[3] > 0.8


def test_another_method_lends_what_both_know_and_values_stay_in_range() -> None:
    choices: dict[str, tuple[Value, ...]] = {"method": ("ties", "dare_ties")}
    one = space(Depth(6), choices=choices)
    other = space(Depth(6), method="task_arithmetic", models=("m", "v"))
    recipe = other.decode({"weight.a": 0.25, "weight.b": 0.75})
    assert encode(one, recipe) == {"weight.a": 0.75, "weight.b": 0.25, "method": "ties"}
