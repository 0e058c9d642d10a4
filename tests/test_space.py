"""What a search space may hold: depth, parts of a layer, couplings, scales, methods."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe, Source
from merge_ops.registry import Value, get_op
from merge_ops.resolving import lookup, resolve
from search.coupling import Coupling, from_experts, to_experts
from search.depth import Depth, even_bands
from search.dimension import Dimension
from search.modules import WHOLE, Module, listed, mapped
from search.points import uniform
from search.proposer import unit_to_value, value_to_unit
from search.space import KnobRange, SearchSpace
from search.warm_start import warm_points

LAYERS = 6
PARTS = ("self_attn.q_proj", "self_attn.q_norm", "mlp.up_proj", "input_layernorm")
LAYERED = [f"model.layers.{i}.{part}.weight" for i in range(LAYERS) for part in PARTS]
NAMES = (*LAYERED, "model.norm.weight", "lm_head.weight", "model.embed_tokens.weight")
RANGE = KnobRange(0.0, 1.5)
WHOLE_DEPTH = Depth(LAYERS)


def space(
    weight: KnobRange = RANGE,
    depth: Depth = WHOLE_DEPTH,
    modules: tuple[Module, ...] = WHOLE,
    *,
    choices: dict[str, tuple[Value, ...]] | None = None,
    frozen: dict[str, float] | None = None,
    labels: tuple[str, ...] = ("vlm", "math"),
    method: str = "ties",
    density: KnobRange | None = None,
) -> SearchSpace:
    template = Recipe(method, tuple(Source(label) for label in labels), "base", target="t")
    ranges = {"weight": weight} | ({"density": density} if density else {})
    return SearchSpace(
        template, labels, ranges, depth, modules, NAMES, choices or {}, frozen or {}
    )


def numbered(one: SearchSpace) -> dict[str, Value]:
    return {d.name: i / 100 for i, d in enumerate(one.dimensions(), start=1)}


def at(recipe: Recipe, name: str, layer: int | None) -> Sequence[float]:
    found = resolve(recipe, get_op(recipe.method), name, layer, LAYERS)["weight"]
    assert isinstance(found, list)
    return found


def test_a_curve_goes_through_its_control_points_and_is_straight_between_them() -> None:
    one = space(depth=Depth(LAYERS, points=3))
    assert [d.name for d in one.dimensions()][:3] == [
        "weight.vlm.0",
        "weight.vlm.1",
        "weight.vlm.2",
    ]
    values = dict(zip([d.name for d in one.dimensions()], [0, 1, 0, 1, 1, 0.5], strict=True))
    recipe = one.decode(values)
    for layer in range(LAYERS):
        t = layer / (LAYERS - 1)
        want = [2 * t if t <= 0.5 else 2 - 2 * t, 1 if t <= 0.5 else 1.5 - t]
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        assert at(recipe, name, layer) == pytest.approx(want)
    assert at(recipe, "model.norm.weight", None) == [0, 0.5]
    assert at(recipe, "lm_head.weight", None) == [0, 0.5]
    assert at(recipe, "model.embed_tokens.weight", None) == [0, 1]


def test_bands_begin_where_the_study_says_and_can_be_split() -> None:
    depth = Depth(LAYERS, (0, 1, 4))
    assert [depth.band(layer) for layer in range(LAYERS)] == [0, 1, 1, 1, 2, 2]
    assert depth.split(1).edges == (0, 1, 3, 4)
    assert depth.split(2).edges == (0, 1, 4, 5)
    assert Depth(7).cuts(0) == [4, 3, 5, 2, 6, 1]
    assert Depth(7).split(0, barred=(4, 3)).edges == (0, 5)
    with pytest.raises(ValueError, match="two layers"):
        depth.split(0)
    for edges in ((1, 2), (0, 2, 2), (0, 6), ()):
        with pytest.raises(UserError, match="from 0 to at most 5"):
            Depth(LAYERS, edges)
    with pytest.raises(UserError, match="2 to 6 control points"):
        Depth(LAYERS, points=7)


@pytest.mark.parametrize("count", range(1, LAYERS + 1))
def test_even_bands_differ_by_one_layer_at_most(count: int) -> None:
    depth = even_bands(LAYERS, count)
    sizes = [sum(depth.band(i) == b for i in range(LAYERS)) for b in range(count)]
    assert sum(sizes) == LAYERS
    assert max(sizes) - min(sizes) <= 1


def test_norms_attention_and_mlp_have_values_of_their_own() -> None:
    one = space(modules=listed(["mlp", "norms", "attention"]))
    assert one.groups() == ["0.norms", "0.attention", "0.mlp"]
    values = numbered(one)
    recipe = one.decode(values)
    owner = {
        "self_attn.q_proj": "attention",
        "self_attn.q_norm": "norms",
        "input_layernorm": "norms",
        "mlp.up_proj": "mlp",
    }
    for part, module in owner.items():
        want = [values[f"weight.{label}.0.{module}"] for label in ("vlm", "math")]
        assert at(recipe, f"model.layers.3.{part}.weight", 3) == want
    assert at(recipe, "model.norm.weight", None)[0] == values["weight.vlm.0.norms"]
    assert at(recipe, "lm_head.weight", None)[0] == values["weight.vlm.0.mlp"]


def test_parts_of_the_users_own_leave_a_rest_only_where_a_tensor_is_left() -> None:
    own = {"heads": ["self_attn"], "others": ["mlp", "norm"]}
    assert [m.name for m in mapped(own, NAMES)] == ["heads", "others", "rest"]  # embeddings, head
    inner = [n for n in NAMES if "layers" in n or "norm" in n]
    assert [m.name for m in mapped(own, inner)] == ["heads", "others"]
    assert [m.name for m in mapped(own, ())] == ["heads", "others", "rest"]


def test_one_weight_for_all_experts() -> None:
    one = space(KnobRange(0.0, 1.5, coupled="shared"), even_bands(LAYERS, 2))
    assert [d.name for d in one.dimensions()] == ["weight.0", "weight.1"]
    recipe = one.decode({"weight.0": 0.3, "weight.1": 0.9})
    assert at(recipe, NAMES[0], 0) == [0.3, 0.3]
    assert at(recipe, "model.layers.5.mlp.up_proj.weight", 5) == [0.9, 0.9]
    points = warm_points(["linear_grid", "task_vector_grid"], one)
    assert len(points) == 11  # of the pairs (l, 1-l) only the average has one value for both
    assert {p["weight.0"] for p in points} == {i / 10 for i in range(11)}


def test_weights_on_a_simplex_sum_to_one_and_hold_the_published_pairs() -> None:
    one = space(KnobRange(0.0, 1.0, coupled="simplex"))
    assert [d.name for d in one.dimensions()] == ["weight.cut1"]
    pairs = [at(one.decode(p), NAMES[0], 0) for p in warm_points(["linear_grid"], one)]
    assert pairs == [pytest.approx([1 - i / 10, i / 10]) for i in range(11)]
    assert uniform(one, [1.0, 1.0], {}) is None
    three = space(KnobRange(0.0, 1.0, coupled="simplex"), labels=("a", "b", "c"))
    start = {d.name: d.default for d in three.dimensions()}
    assert at(three.decode(start), NAMES[0], 0) == pytest.approx([1 / 3] * 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_a_stick_is_broken_into_shares_of_one_and_mended_again(cuts: list[float]) -> None:
    weights = to_experts("simplex", cuts, len(cuts) + 1)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= -1e-12
    again = from_experts("simplex", [max(w, 0.0) for w in weights])
    if again is not None:
        assert to_experts("simplex", again, len(cuts) + 1) == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize(("coupling", "values"), [("free", [0.1, 0.7]), ("shared", [0.4, 0.4])])
def test_couplings_are_their_own_inverse(coupling: Coupling, values: list[float]) -> None:
    own = from_experts(coupling, values)
    assert own is not None
    assert to_experts(coupling, own, 2) == values


def test_a_logarithmic_scale_halves_where_the_root_of_the_product_lies() -> None:
    one = space(density=KnobRange(0.01, 1.0, log=True))
    density = next(d for d in one.dimensions() if d.name == "density.vlm")
    assert isinstance(density, Dimension)
    assert density.log
    assert unit_to_value(density, 0.5) == pytest.approx(0.1)
    assert value_to_unit(density, 0.1) == pytest.approx(0.5)
    assert value_to_unit(density, 0.0) == 0.0
    assert (unit_to_value(density, 0), unit_to_value(density, 1)) == (0.01, 1.0)
    with pytest.raises(UserError, match="begins above 0, but its range is"):
        space(density=KnobRange(0.0, 1.0, log=True)).dimensions()


def test_frozen_groups_are_not_searched_and_keep_their_value() -> None:
    one = space(depth=even_bands(LAYERS, 2), frozen={"weight.vlm.*": 1.0, "weight.math.0": 0.2})
    assert [d.name for d in one.dimensions()] == ["weight.math.1"]
    recipe = one.decode({"weight.math.1": 0.7})
    assert at(recipe, NAMES[0], 0) == [1.0, 0.2]
    assert at(recipe, "model.layers.4.mlp.up_proj.weight", 4) == [1.0, 0.7]
    with pytest.raises(UserError, match=r"'weight\.vlmm' is none of the searched values"):
        space(frozen={"weight.vlmm": 1.0})


def test_the_method_itself_is_a_choice_and_each_takes_what_it_knows() -> None:
    one = space(
        choices={"method": ("task_arithmetic", "ties"), "normalize": (True, False)},
        density=KnobRange(0.1, 0.9),
    )
    names = [d.name for d in one.dimensions()]
    assert names[-2:] == ["method", "normalize"]
    point = numbered(one) | {"normalize": True}
    plain = one.decode(point | {"method": "task_arithmetic"})
    assert plain.method == "task_arithmetic"
    assert "density" not in plain.models[0].parameters
    pruned = one.decode(point | {"method": "ties"})
    assert pruned.method == "ties"
    assert (
        lookup(pruned.models[0].parameters["density"], NAMES[0], 0, LAYERS) == point["density.vlm"]
    )
    assert math.isclose(at(plain, NAMES[0], 0)[1], at(pruned, NAMES[0], 0)[1])


BAD = {
    "weight: [1.0, 0.0]": "5:5: search.knobs.weight: must be [low, high] with low < high",
    "weight: {range: [0, 1], copled: shared}": "copled: unknown key, did you mean 'coupled'?",
    "weight: {range: [0, 1], coupled: simplex}": "on a simplex weights sum to 1; leave range",
    "weight: {}": "range must be [low, high]",
    "lambda: {range: [0, 1], coupled: shared}": "has one lambda for all experts anyway",
}


@pytest.mark.parametrize(("line", "message"), BAD.items())
def test_bad_knobs_are_located(line: str, message: str, tmp_path: Path) -> None:
    from studies.setup import read_study

    path = tmp_path / "study.yaml"
    path.write_text(
        "name: s\ntarget: t\nsearch:\n  knobs:\n    " + line + "\nbase: b\n"
        "experts: [{model: t}, {model: e}]\nmethod: task_arithmetic\nobjectives:\n"
        "  - {name: o, kind: generation, data: {selection: a.jsonl, confirm: b.jsonl, "
        "test: c.jsonl}}\n"
    )
    with pytest.raises(UserError) as caught:
        read_study(path)
    assert message in str(caught.value)
    assert "study.yaml:5:" in str(caught.value)


def test_a_method_list_is_checked(tmp_path: Path) -> None:
    from studies.setup import read_study

    path = tmp_path / "study.yaml"
    text = (
        "name: s\ntarget: t\nbase: b\nexperts: [{model: t}, {model: e}]\nmethod: METHOD\n"
        "search: {knobs: {weight: [0, 1]}, choices: {method: [ties, CHOICE]}}\nobjectives:\n"
        "  - {name: o, kind: generation, data: {selection: a.jsonl, confirm: b.jsonl, "
        "test: c.jsonl}}\n"
    )
    for method, choice, message in (
        ("ties", "tiess", "there is no merge method 'tiess'"),
        ("ties", "emr", "emr gives views or takes statistics"),
        ("linear", "dare_ties", "method: must be one of search.choices.method"),
        ("ties", "ties", "'ties' stands here twice"),
    ):
        path.write_text(text.replace("METHOD", method).replace("CHOICE", choice))
        with pytest.raises(UserError) as caught:
            read_study(path)
        assert message in str(caught.value)
