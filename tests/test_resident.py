"""The live model: what `become` writes, what it leaves alone, what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from merge_ops import merge_tensor
from merge_ops.errors import UserError
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.resident import ResidentModel
from merge_ops.runtime import Runtime
from merge_ops.sources import Held
from tests.tiny import DEVICES, save, tiny_llama

on_every_device = pytest.mark.parametrize("device", DEVICES)
METHODS = ["linear", "task_arithmetic", "ties", "dare_linear", "dare_ties"]


def recipe_of(
    models: dict[str, str], method: str, weight: float = 0.7, exclude: tuple[str, ...] = ()
) -> Recipe:
    own = {"weight": (Entry(None, weight),)}
    if method not in {"linear", "task_arithmetic"}:
        own["density"] = (Entry(None, 0.5),)
    sources = tuple(Source(models[name], dict(own)) for name in ("a", "b"))
    return Recipe(method, sources, models["base"], dtype="float32", exclude=exclude)


def weights(resident: ResidentModel) -> dict[str, Tensor]:
    return {n: p.detach().clone().cpu() for n, p in resident.module.named_parameters()}


@on_every_device
@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_is_what_merge_tensor_gives(
    llamas: dict[str, str], method: str, device: str
) -> None:
    recipe = recipe_of(llamas, method)
    resident = load_resident(recipe, Runtime(device))
    resident.become(recipe)
    base, a, b = (dict(tiny_llama(seed).named_parameters()) for seed in range(3))
    params = {"weight": 0.7} | ({"density": 0.5} if "density" in str(recipe) else {})
    for name, merged in weights(resident).items():
        seed = {"name": name, "seed": 0}
        expected = merge_tensor(method, base[name], [a[name], b[name]], **params, **seed)
        torch.testing.assert_close(merged, expected, rtol=0, atol=0 if device == "cpu" else 1e-6)


@on_every_device
def test_a_candidate_does_not_depend_on_the_one_before_it(
    llamas: dict[str, str], device: str
) -> None:
    first, second = recipe_of(llamas, "ties", 1.3), recipe_of(llamas, "dare_ties", 0.4)
    direct = load_resident(second, Runtime(device))
    direct.become(second)
    detour = load_resident(second, Runtime(device))
    for recipe in (first, second, first, second):
        detour.become(recipe)
    for name, value in weights(direct).items():
        assert torch.equal(value, weights(detour)[name]), name


def test_a_parameter_that_was_moved_is_written_where_it_lies(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "linear")
    resident, still = (load_resident(recipe, Runtime()) for _ in range(2))
    resident.become(recipe)
    for parameter in resident.module.parameters():
        parameter.data = parameter.data.clone()
    other = Source(llamas["a"], {"weight": (Entry(None, 0.1),)})
    for one in (resident, still):
        one.become(replace(recipe, models=(other, recipe.models[1])))
    for name, value in weights(still).items():
        assert torch.equal(value, weights(resident)[name]), name


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_a_model_listed_twice_counts_twice(llamas: dict[str, str], method: str) -> None:
    recipe = recipe_of({**llamas, "b": llamas["a"]}, method)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    base, a = (dict(tiny_llama(seed).named_parameters()) for seed in range(2))
    params = {"weight": 0.7} | ({"density": 0.5} if method == "ties" else {})
    for name, merged in weights(resident).items():
        assert torch.equal(merged, merge_tensor(method, base[name], [a[name]] * 2, **params)), name


def test_excluded_tensors_keep_the_targets_bits(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "task_arithmetic", exclude=("embed_tokens", "lm_head", "layers.1."))
    resident = load_resident(recipe, Runtime())
    before = weights(resident)
    resident.become(recipe)
    for name, value in weights(resident).items():
        if value.ndim == 2:  # the norms of fresh models are all ones, merged or not
            assert torch.equal(value, before[name]) == recipe.excludes(name), name


def test_an_unchanged_tensor_is_not_written_again(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "task_arithmetic")
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    assert resident.first_changed_layer == 0
    resident.become(recipe)
    assert resident.first_changed_layer == resident.layers
    last = (Entry("layers.2.", 0.1), *recipe.models[0].parameters["weight"])
    changed = replace(recipe, models=(Source(llamas["a"], {"weight": last}), recipe.models[1]))
    before = {n: p._version for n, p in resident.module.named_parameters()}
    resident.become(changed)
    assert resident.first_changed_layer == 2
    for name, parameter in resident.module.named_parameters():
        assert (parameter._version > before[name]) == ("layers.2." in name), name


def test_fingerprints_follow_the_parts_that_are_merged(llamas: dict[str, str]) -> None:
    kept = recipe_of(llamas, "linear", exclude=("embed_tokens", "lm_head"))
    resident = load_resident(kept, Runtime())
    resident.become(kept)
    embeddings, decoder = resident.fingerprint("embeddings"), resident.fingerprint("decoder")
    resident.become(recipe_of(llamas, "linear", 0.2, exclude=kept.exclude))
    assert resident.fingerprint("embeddings") == embeddings
    assert resident.fingerprint("decoder") != decoder


def test_sources_are_never_changed(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "dare_ties")
    resident = load_resident(recipe, Runtime())
    sources = resident._engine.sources
    names = [(r, n) for r in sources.references() for n in resident.merged_names]
    before = {name: sources.weights(*name).clone() for name in names}
    for weight in (0.1, 2.0):
        resident.become(recipe_of(llamas, "dare_ties", weight))
    for name in names:
        assert torch.equal(sources.weights(*name), before[name])


def test_a_weight_that_is_not_finite_is_named_by_its_parameter(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "task_arithmetic")
    resident = load_resident(recipe, Runtime())
    name = "model.layers.1.mlp.up_proj.weight"
    held = resident._engine.sources._held[llamas["a"]][name]
    assert isinstance(held, Held)
    held.tensor[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"up_proj\.weight: weights must be finite, but those of"):
        resident.become(recipe)
    held.tensor[0, 0] = 0.0
    resident.become(recipe)
    assert all(bool(value.isfinite().all()) for value in weights(resident).values())


def test_tied_embeddings_are_merged_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("tied")
    models = {}
    for seed, name in enumerate(("base", "a", "b")):
        save(tiny_llama(seed, tied=True), root / name)
        models[name] = str(root / name)
    recipe = recipe_of(models, "task_arithmetic", 0.5)
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    assert "lm_head.weight" not in resident.merged_names
    head = resident.module.get_output_embeddings().weight  # type: ignore[operator]
    assert head is resident.module.get_input_embeddings().weight  # type: ignore[operator]


def test_other_models_or_terms_are_refused(llamas: dict[str, str]) -> None:
    recipe = recipe_of(llamas, "linear")
    resident = load_resident(replace(recipe, models=recipe.models[:1]), Runtime())
    with pytest.raises(UserError, match="is not resident"):
        resident.become(recipe)
    with pytest.raises(UserError, match="its own target, dtypes, exclude"):
        resident.become(replace(recipe, exclude=("lm_head",)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"layers": 4}, "must pair one to one"),
        ({"width": 32}, r"self_attn\.q_proj\.weight is \(\d+, \d+\) against"),
    ],
)
def test_models_that_do_not_pair_are_refused_by_name_and_shape(
    llamas: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    shape: dict[str, int],
    message: str,
) -> None:
    root = tmp_path_factory.mktemp("misfit")
    save(tiny_llama(5, **shape), root)  # type: ignore[arg-type]
    recipe = recipe_of({**llamas, "b": str(root)}, "linear")
    with pytest.raises(UserError, match=message):
        load_resident(recipe, Runtime())
