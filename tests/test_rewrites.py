"""Rewrites: what they lower to, what they refuse, and that search, merge and mergekit see it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.layout import Layout, MisfitError, is_text, layer_of, setting_of
from merge_ops.lowering import lower, needs_target
from merge_ops.recipe import Entry, Recipe, Setting, Source
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import all_ops, get_op
from merge_ops.residency import load_resident
from merge_ops.resolving import lookup, resolve
from merge_ops.rewriting import all_methods, all_rewrites, find_method
from merge_ops.runtime import Runtime
from merge_ops.tensors import share
from search.depth import Depth, even_bands
from search.dimension import Dimension
from search.modules import listed
from search.space import KnobRange, SearchSpace
from studies import cli
from studies.export import build_checkpoint
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study
from tests.test_families import tiny_llava, tiny_mllama
from tests.tiny import tiny_llama

PARTS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "input_layernorm")
OUTSIDE = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
NAMES = (
    OUTSIDE[0],
    *(f"model.layers.{i}.{part}.weight" for i in range(4) for part in PARTS),
    *OUTSIDE[1:],
)
LAYOUT = Layout(4, NAMES)
TOWER = "vision_tower.model.layers.1.self_attn.q_proj.weight"


def weights(recipe: Recipe, name: str, layout: Layout = LAYOUT) -> dict[str, object]:
    """The weight of each model at one tensor."""
    values = resolve(recipe, get_op("linear"), name, layer_of(name), layout.layers)
    assert isinstance(values["weight"], list)
    return dict(zip([m.model for m in recipe.models], values["weight"], strict=True))


def swap(b: int, alpha: Setting = (), *models: str) -> Recipe:
    parameters = {"b": (Entry(None, b),)} | ({"alpha": alpha} if alpha else {})
    sources = tuple(Source(m) for m in models or ("e",))
    return Recipe("layer_swap", sources, None, parameters, target="t")


def test_names_are_apart_from_the_tensor_ops_and_in_order() -> None:
    assert [r.name for r in all_rewrites()] == ["damc", "layer_swap", "naive_mc"]
    names = [m.name for m in all_methods()]
    assert names == sorted(names)
    assert len(names) == len(set(names)) == len(all_ops()) + 3
    assert find_method("ties") is get_op("ties")


def test_one_tensor_cannot_be_merged_by_a_rewrite() -> None:
    x = torch.ones(2)
    with pytest.raises(UserError, match=r"layer_swap rewrites a whole recipe.* 'linear'"):
        merge_tensor("layer_swap", x, [x], b=1)
    with pytest.raises(UserError, match="did you mean 'layer_swap'"):
        merge_tensor("layer_swop", x, [x])


@pytest.mark.parametrize("b", [-1, 0, 2, 3])
@pytest.mark.parametrize("models", [("e",), ("t", "e"), ("e", "t")])
def test_layer_swap_keeps_the_layers_up_to_b(b: int, models: tuple[str, ...]) -> None:
    lowered = lower(swap(b, (Entry(None, 0.25),), *models), LAYOUT)
    assert (lowered.method, lowered.base_model, lowered.kept_from()) == ("linear", None, "t")
    for name in NAMES:
        layer = layer_of(name)
        depth = layer if layer is not None else -1 if "embed" in name else 3
        kept, mixed = {"t": 1.0, "e": 0.0}, {"t": 0.25, "e": 0.75}
        assert weights(lowered, name) == (kept if depth <= b or "embed" in name else mixed), name


def test_layer_swap_lets_alpha_vary_and_keeps_towers() -> None:
    alpha: Setting = (Entry("mlp", (0.0, 0.3, 0.6, 0.9)), Entry("lm_head", 1.0), Entry(None, 0.5))
    layout = Layout(4, (*NAMES, TOWER))
    lowered = lower(swap(0, alpha), layout)
    assert weights(lowered, "model.layers.2.mlp.up_proj.weight")["t"] == 0.6
    assert weights(lowered, "model.layers.2.self_attn.q_proj.weight")["t"] == 0.5
    assert weights(lowered, "lm_head.weight")["t"] == 1.0
    assert weights(lowered, TOWER) == {"t": 1.0, "e": 0.0}
    assert lowered.provenance["rewrite"] == {
        "method": "layer_swap",
        "parameters": {
            "b": 0,
            "alpha": [
                {"filter": "mlp", "value": [0.0, 0.3, 0.6, 0.9]},
                {"filter": "lm_head", "value": 1.0},
                {"filter": "*", "value": 0.5},
            ],
        },
    }


@pytest.mark.parametrize("b", [-2, 4])
def test_a_boundary_outside_the_model_is_refused(b: int) -> None:
    with pytest.raises(MisfitError, match=rf"-1 to 3 for 4 layers, but got {b}"):
        lower(swap(b), LAYOUT)


def test_naive_mc_is_the_weighted_mean_of_the_text_tensors() -> None:
    own = Source("a", {"weight": (Entry("mlp", (0.0, 0.9)), Entry(None, 0.5))})
    layout = Layout(4, (*NAMES, TOWER, "projector.weight"))
    lowered = lower(Recipe("naive_mc", (own, Source("c")), target="t"), layout)
    assert weights(lowered, "model.layers.3.mlp.up_proj.weight") == {"t": 0, "a": 0.9, "c": 1}
    assert weights(lowered, "model.embed_tokens.weight") == {"t": 0, "a": 0.5, "c": 1}
    for name in (TOWER, "projector.weight"):
        assert weights(lowered, name) == {"t": 1, "a": 0, "c": 0}
    text = lower(Recipe("naive_mc", (own, Source("c")), target="t"), LAYOUT)
    assert [m.model for m in text.models] == ["a", "c"]  # no tensor needs the target


def test_damc_also_keeps_what_serves_another_sense_inside_the_decoder() -> None:
    crossing = [f"model.layers.4.{part}" for part in ("cross_attn.q_proj.weight", "mlp.up.weight")]
    expert = "model.layers.2.mlp.vision_expert.weight"
    both = ["model.layers.1.cross_attn.k_proj.weight", expert]
    layout = Layout(5, (*NAMES, *crossing, *both, TOWER))
    sources = (Source("t"), Source("e", {"weight": (Entry(None, 0.5),)}))
    damc = lower(Recipe("damc", sources, target="t"), layout)
    naive = lower(Recipe("naive_mc", sources, target="t"), layout)
    for name in NAMES:
        assert weights(damc, name, layout) == weights(naive, name, layout) == {"t": 1, "e": 0.5}
    for name in (*crossing, *both):
        assert weights(naive, name, layout) == {"t": 1, "e": 0.5}
        assert weights(damc, name, layout) == {"t": 1, "e": 0}
    assert weights(damc, TOWER, layout) == {"t": 1, "e": 0}


def test_text_tensors_are_those_that_the_decoder_holds() -> None:
    llava = share([tiny_llava(), tiny_llava()])
    for tensor in llava.tensors:
        assert is_text(tensor.name) == (tensor.part in {"decoder", "embeddings"}), tensor
    assert not all(is_text(tensor.name) for tensor in llava.tensors)


def test_damc_keeps_the_cross_attention_layers_of_a_real_model() -> None:
    shared = share([tiny_mllama(), tiny_mllama()])
    layout = Layout(shared.layers, tuple(t.name for t in shared.tensors))
    lowered = lower(Recipe("damc", (Source("t"), Source("e")), target="t"), layout)
    kept = {n for n in layout.names if weights(lowered, n, layout)["e"] == 0.0}
    assert {layer_of(n) for n in kept if is_text(n)} == {1, 3}
    assert all(n in kept for n in layout.names if (layer_of(n) in {1, 3}) or not is_text(n))


@pytest.mark.parametrize("seed", range(20))
def test_a_setting_gives_every_tensor_its_value(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    names = [*NAMES, TOWER, "vision.model.norm.weight", "model.layers.2.moe.gate.weight"]
    few = torch.randint(1, 4, (), generator=draw).item()
    values = {n: float(torch.randint(0, int(few) + 1, (), generator=draw)) for n in names}
    setting = setting_of(values, 4)
    assert {n: lookup(setting, n, layer_of(n), 4) for n in names} == values
    switches = {n: value > 1 for n, value in values.items()}
    switch = setting_of(switches, 4)
    assert {n: lookup(switch, n, layer_of(n), 4) for n in names} == switches


def test_a_setting_is_as_short_as_it_can_be() -> None:
    flat = dict.fromkeys(NAMES, 0.5)
    assert setting_of(flat, 4) == (Entry(None, 0.5),)
    halves = {n: 0.1 if "self_attn" in n else 0.5 for n in NAMES if "o_proj" not in n}
    assert setting_of(halves, 4) == (Entry("self_attn", 0.1), Entry(None, 0.5))


def llama(seed: int) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in tiny_llama(seed).named_parameters()}


def test_merge_writes_the_lowered_recipe_and_its_weights(
    llamas: dict[str, str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"merge_method: layer_swap\nbase_model: {llamas['base']}\n"
        f"models: [{{model: {llamas['a']}}}]\nparameters: {{b: 0, alpha: 0.25}}\n"
    )
    build_checkpoint(recipe, tmp_path / "out")
    got = load_file(tmp_path / "out" / "model.safetensors")
    target, expert = llama(0), llama(1)
    for name, value in got.items():
        kept = "embed_tokens" in name or layer_of(name) == 0
        want = target[name] if kept else 0.25 * target[name] + 0.75 * expert[name]
        torch.testing.assert_close(value, want, rtol=0, atol=0 if kept else 1e-7)
    written = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert (written.method, written.base_model) == ("linear", None)
    assert written.provenance["rewrite"] == {
        "method": "layer_swap",
        "parameters": {"b": 0, "alpha": 0.25},
    }
    again, _ = build_checkpoint(tmp_path / "out" / "recipe.yaml", tmp_path / "again")
    assert again.digest() == written.digest()
    rebuilt = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(rebuilt[name], value) for name, value in got.items())


def test_the_live_model_refuses_a_recipe_that_was_not_lowered(llamas: dict[str, str]) -> None:
    recipe = Recipe("damc", (Source(llamas["a"]),), target=llamas["base"], dtype="float32")
    resident = load_resident(recipe, Runtime(), also=needs_target(recipe))
    with pytest.raises(UserError, match="damc rewrites a whole recipe"):
        resident.become(recipe)


FILE = """\
merge_method: layer_swap
base_model: t
models:
  - model: e
parameters:
  b: 1
  alpha: 0.5
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("b: 1", "b: [1, 2]"), "r.yaml:6:3: parameters.b: must be one whole number, without fil"),
        (("b: 1", "b: 1.5"), "r.yaml:6:3: parameters.b: must be one whole number"),
        (("b: 1", "b: true"), "parameters.b: must be one whole number"),
        (("  b: 1\n", ""), "r.yaml:5:1: parameters: layer_swap needs 'b'"),
        (("alpha: 0.5", "alhpa: 0.5"), "layer_swap has no parameter 'alhpa', did you mean 'alpha"),
        (("- model: e", "- model: t"), "r.yaml:3:1: models: layer_swap merges 1 models beside"),
        (("_swap", "_swop"), "there is no method 'layer_swop', did you mean 'layer_swap'?"),
        (("- model: e", "- model: e\n    parameters: {alpha: 1}"), "put it under the top"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    for name in ("t", "e"):
        (tmp_path / name).mkdir()
    assert change[0] in FILE
    with pytest.raises(UserError, match=re.escape(expected)):
        parse_recipe(FILE.replace(*change), tmp_path / "r.yaml")


def test_a_boundary_that_the_models_do_not_have_is_located(
    llamas: dict[str, str], tmp_path: Path
) -> None:
    recipe = tmp_path / "r.yaml"
    text = FILE.replace(": t\n", f": {llamas['base']}\n").replace(": e\n", f": {llamas['a']}\n")
    recipe.write_text(text.replace("b: 1", "b: 3"))
    with pytest.raises(UserError, match=r"r\.yaml:6:3: parameters\.b: b is a layer's index, -1 t"):
        build_checkpoint(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_boundary_of_a_searched_range_has_the_same_share() -> None:
    template = Recipe("layer_swap", (Source("t"), Source("e")), target="t")
    ranges = {"b": KnobRange(-1, 3), "alpha": KnobRange(0.0, 0.5)}
    space = SearchSpace(
        template, ("t", "e"), ranges, even_bands(4, 2), listed(["attention", "mlp"]), NAMES
    )
    names = [d.name for d in space.dimensions()]
    assert names[0] == "b"
    assert len(names) == 1 + 4
    first = space.dimensions()[0]
    assert isinstance(first, Dimension)
    assert (first.low, first.high, first.default) == (-1, 4, 1.5)
    point = {d.name: i / 10 for i, d in enumerate(space.dimensions())}
    for value, b in ((-1.0, -1), (-0.01, -1), (0.0, 0), (2.99, 2), (3.5, 3), (4.0, 3)):
        recipe = space.decode(point | {"b": value})
        assert recipe.method == "linear"
        assert recipe.provenance["rewrite"]["parameters"]["b"] == b
        kept = [layer for layer in range(4) if layer <= b]
        for layer in range(4):
            name = f"model.layers.{layer}.mlp.up_proj.weight"
            alpha = 1.0 if layer in kept else point[f"alpha.{layer // 2}.mlp"]
            assert weights(recipe, name)["t"] == alpha
    with pytest.raises(ValueError, match="named tensors"):
        SearchSpace(template, ("t", "e"), ranges, Depth(4))


def test_a_study_searches_a_rewrite(small_study: Callable[..., Path]) -> None:
    search = {"knobs": {"b": [-1, 3], "alpha": [0.0, 1.0]}, "bands": 2}
    path = small_study(
        "reasoning", out="swapped", trials=3, method="layer_swap", search=search, compare=False
    )
    study = read_study(path)
    results = run_study(study)
    assert (results["trials"], results["failed_trials"]) == (3, 0)
    recipe = read_recipe(study.out / RECIPE)
    assert recipe.method == "linear"
    assert recipe.provenance["rewrite"]["method"] == "layer_swap"
    assert recipe.provenance["study"] == "swapped"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"knobs": {"alpha": [0, 1]}}}, "method: layer_swap needs 'b', searched or un"),
        ({"search": {"knobs": {"b": [0.5, 2]}}}, "search.knobs.b: must be two whole numbers"),
        ({"parameters": {"b": 1.5}}, "parameters.b: must be one whole number"),
    ],
)
def test_mistakes_in_a_study_of_a_rewrite_are_told(
    small_study: Callable[..., Path], changes: dict[str, object], message: str
) -> None:
    changes = {"search": {"knobs": {"alpha": [0, 1]}}} | changes
    path = small_study("reasoning", out="wrong-swap", method="layer_swap", **changes)
    with pytest.raises(UserError, match=rf"\.yaml:\d+:\d+: {re.escape(message)}"):
        read_study(path)


def test_rewrites_are_listed_with_the_methods() -> None:
    runner = CliRunner()
    listed = runner.invoke(cli.app, ["methods"]).stdout
    assert all(rewrite.name in listed for rewrite in all_rewrites())
    one = runner.invoke(cli.app, ["methods", "layer_swap"]).stdout
    assert "Layers <= b keep the target" in one
    assert "-1 to the last" in one
