"""Recipes whose groups of tensors have a merge method each: files, the live model, searches."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.layout import Layout, layer_of
from merge_ops.lowering import lower
from merge_ops.recipe import Entry, MethodGroup, Recipe, Source
from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import parse_recipe, read_recipe
from merge_ops.registry import Value
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from search.degenerate import degenerate
from search.depth import Depth, even_bands
from search.encoding import encode
from search.modules import WHOLE, listed
from search.space import KnobRange, SearchSpace
from search.tying import tied
from search.warm_start import vlrm_58
from studies.export import build_checkpoint
from studies.ledger import read_trials
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study
from tests.tiny import DEVICES, tiny_llama

GROUPS = (
    MethodGroup("ties", (0, 2), "self_attn"),
    MethodGroup("linear", None, "mlp.down"),
    MethodGroup("dare_linear", (1, 3)),
    MethodGroup("tsv", None, "up_proj"),
)


def recipe_of(models: dict[str, str], groups: tuple[MethodGroup, ...] = GROUPS) -> Recipe:
    own = {"weight": (Entry(None, 0.7),), "density": (Entry(None, 0.5),)}
    sources = tuple(Source(models[name], dict(own)) for name in ("a", "b"))
    return Recipe(
        "task_arithmetic",
        sources,
        models["base"],
        {"lambda": (Entry(None, 0.9),)},
        dtype="float32",
        target=models["base"],
        seed=3,
        groups=groups,
    )


def weights(resident: ResidentModel) -> dict[str, Tensor]:
    return {n: p.detach().clone().cpu() for n, p in resident.module.named_parameters()}


KNOWN = {
    "ties": {"weight": 0.7, "density": 0.5, "lambda": 0.9},
    "linear": {"weight": 0.7},
    "dare_linear": {"weight": 0.7, "density": 0.5, "lambda": 0.9},
    "task_arithmetic": {"weight": 0.7, "lambda": 0.9},
    "tsv": {},
}


@pytest.mark.parametrize("device", DEVICES)
def test_every_tensor_is_what_its_method_gives(llamas: dict[str, str], device: str) -> None:
    recipe = recipe_of(llamas)
    resident = load_resident(recipe, Runtime(device))
    resident.become(recipe)
    base, a, b = (dict(tiny_llama(seed).named_parameters()) for seed in range(3))
    seen = set()
    for name, merged in weights(resident).items():
        method = recipe.method_at(name, layer_of(name))
        seen.add(method)
        draw = {"name": name, "seed": 3}
        expected = merge_tensor(method, base[name], [a[name], b[name]], **KNOWN[method], **draw)
        torch.testing.assert_close(merged, expected, rtol=1e-6, atol=1e-6)
    assert seen == set(recipe.methods())


@pytest.mark.parametrize("device", DEVICES)
def test_a_candidate_does_not_depend_on_the_one_before_it(
    llamas: dict[str, str], device: str
) -> None:
    grouped, plain = recipe_of(llamas), recipe_of(llamas, ())
    other = recipe_of(llamas, (MethodGroup("linear", (0, 1)), MethodGroup("ties", None, "mlp")))
    direct, detour = load_resident(grouped, Runtime(device)), load_resident(plain, Runtime(device))
    for recipe in (plain, grouped, other, plain, other, grouped):
        detour.become(recipe)
        direct.become(grouped)
    for name, value in weights(direct).items():
        assert torch.equal(value, weights(detour)[name]), name


def test_a_recipe_is_written_and_read_as_it_was(llamas: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(llamas)
    text = recipe_text(recipe, tmp_path)
    assert text.startswith("merge_method: per_group\n")  # which mergekit refuses
    again = parse_recipe(text, tmp_path / "recipe.yaml")
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_the_digest_tells_groups_apart_and_leaves_other_recipes_alone(
    llamas: dict[str, str],
) -> None:
    recipe = recipe_of(llamas)
    digests = {
        recipe.digest(),
        recipe_of(llamas, ()).digest(),
        recipe_of(llamas, GROUPS[:1]).digest(),
        recipe_of(llamas, GROUPS[::-1]).digest(),
        recipe_of(llamas, (replace(GROUPS[0], layers=(0, 1)), *GROUPS[1:])).digest(),
    }
    assert len(digests) == 5
    known = Recipe("ties", (Source("a"), Source("b")), "base", target="t")
    assert known.digest().startswith("b8bae245")  # of the version before groups


def test_it_becomes_a_checkpoint_with_the_live_weights(
    llamas: dict[str, str], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    recipe = recipe_of(llamas)
    (tmp_path / "recipe.yaml").write_text(recipe_text(recipe, tmp_path))
    build_checkpoint(tmp_path / "recipe.yaml", tmp_path / "out")
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in weights(resident).items():
        assert torch.equal(found[name], value), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# A task_arithmetic and ties and linear and dare_linear and tsv merge" in card
    assert read_recipe(tmp_path / "out" / "recipe.yaml").groups == recipe.groups


def test_layers_that_the_models_do_not_have(llamas: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"methods\.0\.layer_range: ends at layer 9, but"):
        lower(recipe_of(llamas, (MethodGroup("ties", (0, 9)),)), Layout(3, ()))


ENTRY = "{method: ties, filter: mlp}"
BAD = [
    ("[]", "per_group needs mergetuna.methods"),
    (f"[{ENTRY}]", "methods.0: the last entry is of all that is left"),
    ("[{method: ties}, {method: linear}]", "methods.0: needs a layer_range or a filter"),
    (f"[{ENTRY}, {{method: lineer}}]", "methods.1.method: there is no method 'lineer', did you"),
    (f"[{ENTRY}, {{method: emr}}]", "emr gives views or takes statistics"),
    (f"[{ENTRY}, {{method: layer_swap}}]", "layer_swap rewrites a whole recipe"),
    ("[{method: ties, layer_range: [2, 2]}, {method: linear}]", "first < end"),
    ("[{method: ties, layer_range: [-1, 2]}, {method: linear}]", "methods.0.layer_range.0"),
    ("[{method: ties, layer_range: [0]}, {method: linear}]", "methods.0.layer_range"),
    (f"[{ENTRY}, {{method: slerp}}]", "slerp merges"),
]


def text_of(methods: str, name: str = "per_group", more: str = "") -> str:
    return (
        f"merge_method: {name}\nbase_model: base\nmodels: [{{model: a}}, {{model: b}}, "
        f"{{model: c}}]\n{more}mergetuna: {{version: 1, target: base, methods: {methods}}}\n"
    )


@pytest.mark.parametrize(("methods", "words"), BAD)
def test_groups_that_cannot_be(tmp_path: Path, methods: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        parse_recipe(text_of(methods), tmp_path / "recipe.yaml")
    assert str(refused.value).startswith(f"{tmp_path / 'recipe.yaml'}:")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            text_of(f"[{ENTRY}, {{method: linear}}]", "ties"),
            "only a recipe of merge_method 'per_g",
        ),
        (
            text_of(f"[{ENTRY}, {{method: linear}}]", more="parameters: {dense: 1}\n"),
            "linear has no parameter 'dense'",
        ),
        (
            text_of(f"[{ENTRY}, {{method: linear}}]").replace("base_model: base\n", ""),
            "ties needs a base_model",
        ),
    ],
)
def test_what_belongs_to_groups(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_recipe(text, tmp_path / "recipe.yaml")


NAMES = (
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.{p}.weight" for i in range(6) for p in ("self_attn.q", "mlp.up")),
    "model.norm.weight",
)
METHODS: tuple[Value, ...] = ("task_arithmetic", "ties")


def space(bands: int = 3, *, parts: bool = True, per_group: bool = True) -> SearchSpace:
    template = Recipe("ties", (Source("a"), Source("b")), "base", target="t")
    return SearchSpace(
        template,
        ("a", "b"),
        {"weight": KnobRange(0.0, 1.0), "density": KnobRange(0.2, 0.9)},
        even_bands(6, bands),
        listed(["attention", "mlp"]) if parts else WHOLE,
        NAMES,
        {"method": METHODS},
        method_per_group=per_group,
    )


def test_a_point_gives_every_group_its_method() -> None:
    one = space()
    names = one.method_names()
    assert names == tuple(f"method.{i}.{part}" for i in range(3) for part in ("attention", "mlp"))
    assert [d.name for d in one.dimensions()][-6:] == list(names)
    point = {d.name: d.default for d in one.dimensions()}
    for pattern in range(64):
        point |= {name: METHODS[pattern >> i & 1] for i, name in enumerate(names)}
        recipe = one.decode(point)
        for name in NAMES:
            layer = layer_of(name)
            place = {"model.embed_tokens.weight": 0, "model.norm.weight": 2}.get(name)
            band = (layer or 0) // 2 if place is None else place
            part = "attention" if "self_attn" in name else "mlp"
            assert recipe.method_at(name, layer) == point[f"method.{band}.{part}"], (name, recipe)
        assert encode(one, recipe) == point


def test_one_method_everywhere_is_the_plain_recipe_of_it() -> None:
    one, plain = space(), space(per_group=False)
    point = {d.name: d.default for d in plain.dimensions()}
    for method in METHODS:
        found = one.decode(one.with_method(point, str(method)))
        assert found == plain.decode({**point, "method": method})
        assert found.groups == ()


def test_all_groups_methods_count_and_are_tied_with_their_bands() -> None:
    one = space(2, parts=False)
    assert degenerate(one) == []
    names = [d.name for d in tied(one, Depth(2)).dimensions]
    assert names[-1] == "method.0"
    assert len(names) == 5
    assert len({p["method.0"] for p in vlrm_58(one) if p}) == 2
    assert all(p["method.0"] == p["method.1"] for p in vlrm_58(one) if p)


def test_a_study_finds_a_method_for_each_group(small_study: Callable[..., Path]) -> None:
    study = read_study(
        small_study(
            "reasoning",
            out="grouped",
            method="ties",
            sampler="random",
            compare=False,
            warm_start=[],
            trials=5,
            search={
                "knobs": {"weight": [0.1, 1.0]},
                "choices": {"method": ["ties", "linear"]},
                "modules": ["attention", "mlp"],
                "bands": 2,
                "method_per_group": True,
            },
        )
    )
    results = run_study(study)
    trials = read_trials(study.out)
    assert all(len([n for n in t.params if n.startswith("method.")]) == 4 for t in trials)
    assert set(results["winner"]["choices"]) == {
        f"method.{i}.{part}" for i in range(2) for part in ("attention", "mlp")
    }
    recipe = read_recipe(study.out / RECIPE)
    chosen = set(results["winner"]["choices"].values())
    assert set(recipe.methods()) == chosen


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"bands": 2}, "lists no methods"),
        ({"choices": {"method": ["ties", "linear"]}}, "there is one group alone"),
        ({"choices": {"method": ["ties", "linear"]}, "curve": 2}, "groups are bands"),
        ({"choices": {"method": ["ties", "naive_mc"]}, "bands": 2}, "rewrites a whole recipe"),
    ],
)
def test_searches_that_cannot_be(
    small_study: Callable[..., Path], search: dict[str, Any], words: str
) -> None:
    content = {"knobs": {"weight": [0.1, 1.0]}, "method_per_group": True, **search}
    path = small_study("reasoning", out="ungrouped", method="ties", search=content)
    with pytest.raises(UserError, match=words):
        read_study(path)
