"""Embeddings and head are merged row by row: only where all tokenizers have the same token."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from merge_ops import merge_tensor, placement
from merge_ops.alignment import align
from merge_ops.errors import UserError
from merge_ops.expert_statistics import HeldStatistics
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.tokens import tokens_of
from merge_ops.vocabulary import Rows, agree
from studies.export import build_checkpoint
from tests.families import FAMILIES, build, build_text
from tests.tiny import DEVICES, save, tiny_llama, write_tokenizer

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
GAPS = {5: "<image>", 17: "<tool>", 30: "<pad>"}
"""Tokens of expert a that the others do not have: the merged rows are no neighbours."""
TAIL = {i: f"<added {i}>" for i in range(28, 32)}
"""The same, but the others are neighbours."""

Models = dict[str, str]


@pytest.fixture(scope="module", params=[GAPS, TAIL], ids=["gaps", "tail"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A base and two experts, one of which has other tokens at a few ids."""
    root = tmp_path_factory.mktemp("vocabulary")
    for seed, name in enumerate(("base", "a", "b")):
        save(tiny_llama(seed, layers=1), root / name, request.param if name == "a" else None)
    return {name: str(root / name) for name in ("base", "a", "b")}


def recipe_of(models: Models, method: str, weight: float = 0.7, **more: Any) -> Recipe:
    sources = tuple(Source(models[name]) for name in ("a", "b"))
    knobs = {} if method in {"tsv", "emr"} else {"weight": weight}
    parameters = {key: (Entry(None, value),) for key, value in knobs.items()}
    base = None if method == "karcher" else models["base"]
    target = models["base"]
    return Recipe(method, sources, base, parameters, "float32", target=target, **more)


def weights(resident: ResidentModel) -> dict[str, Tensor]:
    return {name: p.detach().cpu().clone() for name, p in resident.parameters.items()}


def vocabulary() -> dict[str, Tensor]:
    """Embeddings of the three models, by name."""
    seeds = {"base": 0, "a": 1, "b": 2}
    return {n: dict(tiny_llama(s, layers=1).named_parameters())[EMBEDDINGS].detach()
            for n, s in seeds.items()}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("linear", {"weight": 0.7}),
        ("ties", {"weight": 0.7, "density": 0.5}),
        ("breadcrumbs", {"weight": 0.7, "density": 0.5}),
        ("karcher", {}),
        ("tsv", {}),
        ("wudi", {"lambda": 0.5}),
        ("model_stock", {}),
        ("sce", {"select_topk": 0.5}),
    ],
)
def test_a_method_sees_the_merged_rows_as_the_whole_tensor(
    models: Models, method: str, parameters: dict[str, float], device: str
) -> None:
    recipe = replace(
        recipe_of(models, method),
        parameters={key: (Entry(None, value),) for key, value in parameters.items()},
    )
    resident = load_resident(recipe, Runtime(device=device))
    before = weights(resident)[EMBEDDINGS]
    resident.become(recipe)
    found, known = weights(resident)[EMBEDDINGS], vocabulary()
    other = _other_rows(models)
    same = [i for i in range(32) if i not in other]
    assert torch.equal(found[other], before[other])
    base = known["a"] if method == "karcher" else known["base"]
    expected = merge_tensor(
        method, base[same], [known["a"][same], known["b"][same]], **_spread(parameters)
    )
    torch.testing.assert_close(found[same], expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found[same], before[same])


def _other_rows(models: Models) -> list[int]:
    a, b = tokens_of(models["a"]), tokens_of(models["b"])
    return [i for i in range(32) if a.get(i) != b.get(i)]


def _spread(parameters: dict[str, float]) -> dict[str, Any]:
    """One number per expert where `merge_tensor` takes a list."""
    lists = {"weight", "density"}
    return {k: [v, v] if k in lists else v for k, v in parameters.items()}


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("linear", "bfloat16"), ("dare_ties", "float32"), ("tsv", "float32"), ("emr", "float32")],
)
def test_become_twice_is_become_once(models: Models, method: str, dtype: str) -> None:
    a, b = (
        replace(recipe_of(models, method, w), dtype=dtype, out_dtype="float32", seed=s)
        for w, s in ((0.3, 1), (0.9, 2))
    )
    one, two = load_resident(a, Runtime()), load_resident(a, Runtime())
    before = weights(one)
    one.become(b)
    two.become(a)
    two.become(b)
    left, right = weights(one), weights(two)
    other = _other_rows(models)
    for name in left:
        assert torch.equal(left[name], right[name]), name
        if name in (EMBEDDINGS, HEAD):
            assert torch.equal(left[name][other], before[name][other])


def test_mapped_models_give_the_same_bits(models: Models, monkeypatch: Any) -> None:
    recipe = recipe_of(models, "ties")
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    found = weights(resident)
    whole = placement.plan_models

    def mapped(*arguments: Any) -> Any:
        made = whole(*arguments)
        places = tuple("mapped" if item.movable else place
                       for item, place in zip(made.items, made.places, strict=True))  # fmt: skip
        return replace(made, places=places)

    monkeypatch.setattr(placement, "plan_models", mapped)
    again = load_resident(recipe, Runtime())
    again.become(recipe)
    for name, value in weights(again).items():
        assert torch.equal(value, found[name]), name


def test_fisher_takes_the_rows_of_its_statistics(models: Models) -> None:
    recipe = recipe_of(models, "fisher")
    recipe = replace(recipe, base_model=None, parameters={})
    resident = load_resident(recipe, Runtime())
    torch.manual_seed(3)
    fishers = {
        n: [torch.rand(p.shape), torch.rand(p.shape)] for n, p in resident.parameters.items()
    }
    held = HeldStatistics()
    held.put(fishers)
    resident.become(recipe, held)
    known, other = vocabulary(), _other_rows(models)
    same = [i for i in range(32) if i not in other]
    f, g = (x[same] for x in fishers[EMBEDDINGS])
    expected = (f * known["a"][same] + g * known["b"][same]) / (f + g)
    torch.testing.assert_close(weights(resident)[EMBEDDINGS][same], expected, rtol=1e-4, atol=1e-5)


def test_what_is_merged_is_said_once_and_kept_in_the_provenance(
    models: Models, tmp_path: Path
) -> None:
    said: list[str] = []
    recipe = recipe_of(models, "linear")
    resident = load_resident(recipe, Runtime(report=said.append))
    (line,) = [text for text in said if "rows are merged" in text]
    assert resident.vocabulary == [line]
    assert recipe.digest({}, resident.rows_sha256) != recipe.digest()
    other = _other_rows(models)
    assert line.startswith(f"embed_tokens and lm_head: {32 - len(other)} of 32 rows are merged; ")
    assert (
        f"{len(other)} kept from the target: ids {'5, 17, 30' if 5 in other else '28-31'}" in line
    )
    assert f"'t{other[0]}' in base, b and '<" in line
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"merge_method: linear\nmodels:\n  - model: {models['a']}\n  - model: {models['b']}\n"
        f"parameters: {{weight: 0.5}}\nmergetuna: {{version: 1, target: {models['base']}}}\n"
    )
    build_checkpoint(path, tmp_path / "out")
    written = read_recipe(tmp_path / "out" / "recipe.yaml")
    (noted,) = written.provenance["vocabulary"]
    assert f"{32 - len(other)} of 32 rows are merged" in noted
    assert noted in (tmp_path / "out" / "README.md").read_text()


def test_nothing_is_compared_where_the_vocabulary_is_excluded(models: Models) -> None:
    said: list[str] = []
    recipe = recipe_of(models, "linear", exclude=("embed_tokens", "lm_head"))
    resident = load_resident(recipe, Runtime(report=said.append))
    assert resident.vocabulary == []
    assert not any("rows" in text for text in said)


def test_equal_tokenizers_merge_every_row(llamas: Models) -> None:
    recipe = replace(recipe_of(llamas, "linear"), base_model=None)
    resident = load_resident(recipe, Runtime())
    assert resident.vocabulary == [
        "embed_tokens and lm_head: all 32 rows are merged; the tokenizers agree id by id"
    ]
    assert resident.rows_sha256 == ""


@pytest.mark.parametrize("tied", [False, True])
def test_a_smaller_vocabulary_gives_the_rows_that_it_has(tmp_path: Path, *, tied: bool) -> None:
    """Both ways round: of a larger expert the further rows go nowhere."""
    for name, size in (("large", 32), ("small", 24)):
        made = tiny_llama(size, tied=tied)
        made.resize_token_embeddings(size, mean_resizing=False)
        save(made, tmp_path / name)
    for target, expert, merged in (("large", "small", 24), ("small", "large", 24)):
        source = Source(str(tmp_path / expert))
        recipe = Recipe("passthrough", (source,), target=str(tmp_path / target))
        resident = load_resident(recipe, Runtime())
        before = weights(resident)
        resident.become(recipe)
        after = weights(resident)
        donor = load_resident(replace(recipe, target=str(tmp_path / expert)), Runtime())
        given = weights(donor)
        assert (HEAD in after) != tied
        for name in {EMBEDDINGS, HEAD} & after.keys():
            assert torch.equal(after[name][:merged], given[name][:merged])
            assert torch.equal(after[name][merged:], before[name][merged:])


def test_mllamas_embeddings_have_eight_rows_more_than_its_head(tmp_path: Path) -> None:
    family = FAMILIES["mllama"]()
    save(build(family), tmp_path / "vlm")
    save(build_text(family.text), tmp_path / "text")
    recipe = Recipe("passthrough", (Source(str(tmp_path / "text")),), target=str(tmp_path / "vlm"))
    resident = load_resident(recipe, Runtime())
    assert resident.vocabulary == [
        "embed_tokens: 160 of 168 rows are merged; 8 kept from the target: ids 160-167 "
        "(160 is no token in vlm, text)",
        "lm_head: all 160 rows are merged; the tokenizers agree id by id",
    ]
    before = weights(resident)
    resident.become(recipe)
    donor = dict(build_text(family.text).named_parameters())[EMBEDDINGS].detach()
    after = weights(resident)[EMBEDDINGS]
    assert torch.equal(after[:160], donor)
    assert torch.equal(after[160:], before[EMBEDDINGS][160:])
    assert "160 of 168 rows" in align(str(tmp_path / "vlm"), str(tmp_path / "text")).vocabulary[0]


def test_added_tokens_of_the_config_count(tmp_path: Path) -> None:
    for name in ("base", "a"):
        save(tiny_llama(0, layers=1), tmp_path / name)
        write_tokenizer(tmp_path / name, {i: f"t{i}" for i in range(30)})
    (tmp_path / "a" / "tokenizer_config.json").write_text(
        '{"added_tokens_decoder": {"31": {"content": "<image>"}}}'
    )
    found = agree({str(tmp_path / "base"): 32, str(tmp_path / "a"): 32})
    assert found.rows is not None
    assert found.rows.index.tolist() == list(range(31))  # 30 is padding in both
    assert "31 is no token in base and '<image>' in a" in found.text


def test_a_tokenizer_of_another_format_is_read_by_transformers(tmp_path: Path) -> None:
    for name in ("base", "a"):
        save(tiny_llama(0, layers=1), tmp_path / name)
    (tmp_path / "a" / "tokenizer.json").unlink()
    (tmp_path / "a" / "vocab.txt").write_text("nonsense")
    with pytest.raises(UserError) as refused:
        agree({str(tmp_path / "base"): 32, str(tmp_path / "a"): 32})
    assert str(tmp_path / "a") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_views_of_part_of_a_tensor_are_refused(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"merge_method: emr\nbase_model: {models['base']}\n"
        f"models:\n  - model: {models['a']}\n  - model: {models['b']}\n"
        f"mergetuna:\n  version: 1\n  target: {models['base']}\n"
        f"  tasks: {{one: {models['a']}, two: {models['b']}}}\n"
    )
    with pytest.raises(UserError, match=r"only 2[89] rows are merged"):
        build_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    build_checkpoint(path, tmp_path / "one", task="one")


@given(st.data())
def test_rows_are_written_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    index = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    rows, tensor = Rows(torch.tensor(index)), torch.arange(2.0 * size).view(size, 2)
    assert torch.equal(rows.of(tensor), tensor[index])
    assert rows.shape(tensor.shape) == (len(index), 2)
    assert rows.neighbours == (index == list(range(index[0], index[-1] + 1)))
    out = torch.zeros(size, 2)
    rows.put(out, rows.of(tensor) + 100)
    left = [i for i in range(size) if i not in index]
    assert torch.equal(out[index], tensor[index] + 100)
    assert not out[left].any()
