"""Towers that other models fill: side by side in one target, over merged language layers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from merge_ops.alignment import align
from merge_ops.config_differences import tower_differences
from merge_ops.decoder import find_decoder
from merge_ops.errors import UserError
from merge_ops.loading import load_model
from merge_ops.opening import open_models
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.recipe_text import write_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.towers import TowerMisfitError, find_towers, fit
from studies.export import build_checkpoint
from tests.families import FAMILIES, build, empty
from tests.omni import Modality, inputs_of, save_omni
from tests.tiny import save

MODALITIES: dict[Modality, str] = {"image": "seeing", "video": "seeing", "audio": "hearing"}
TOWERS = {"visual": "seeing", "audio_tower": "hearing"}


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("omni")
    save_omni(root)
    return root


def recipe_of(
    root: Path, weights: dict[str, float], method: str = "linear", **changes: Any
) -> Recipe:
    """A merge of the models by `weights`, with everybody's own towers."""
    sources = tuple(
        Source(str(root / name), {"weight": (Entry(None, weight),)})
        for name, weight in weights.items()
    )
    terms: dict[str, Any] = {
        "dtype": "float32",
        "target": str(root / "target"),
        "towers": {key: str(root / owner) for key, owner in TOWERS.items()},
    }
    return Recipe(method, sources, **(terms | changes))


def built(root: Path, recipe: Recipe, out: Path) -> Any:
    """What `mergetuna merge` writes, as plain transformers loads it."""
    write_recipe(recipe, root / "recipe.yaml")
    build_checkpoint(root / "recipe.yaml", out)
    kind: Any = type(build(FAMILIES["qwen2_5_omni_thinker"]()))
    return kind.from_pretrained(out).eval()


@torch.no_grad()
def at_the_door(model: Any, modality: Modality) -> Tensor:
    """What the decoder is called with: text embeddings with the towers' features among them."""
    caught: list[Tensor] = []
    hook = find_decoder(model).module.register_forward_pre_hook(
        lambda _, __, kwargs: caught.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    model(**inputs_of(model, modality))
    hook.remove()
    return caught[0]  # (1, T, hidden size)


@torch.no_grad()
def logits(model: Any, modality: Modality) -> Tensor:
    return model(**inputs_of(model, modality)).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("modality", MODALITIES)
def test_features_are_the_owners_and_layers_are_merged(
    omni: Path, tmp_path: Path, modality: Modality
) -> None:
    """All experts lend their embeddings in equal shares, so features alone are compared."""
    model = built(omni, recipe_of(omni, {"seeing": 0.5, "hearing": 0.5}), tmp_path / "out")
    owner = load_model(str(omni / MODALITIES[modality]), None)
    ours, theirs = (at_the_door(m, modality) for m in (model, owner))
    ids = inputs_of(model, modality)["input_ids"][0]
    features = (ids >= 150) & (ids <= 152)
    assert features.sum() >= 4
    torch.testing.assert_close(ours[:, features], theirs[:, features], rtol=0, atol=1e-6)
    merged = find_decoder(model).stack.state_dict()
    parts = [
        find_decoder(load_model(str(omni / name), None)).stack.state_dict()
        for name in ("seeing", "hearing")
    ]
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2)


@pytest.mark.parametrize("modality", MODALITIES)
def test_with_weight_one_on_its_expert_a_modality_gets_the_experts_logits(
    omni: Path, tmp_path: Path, modality: Modality
) -> None:
    owner = MODALITIES[modality]
    other = "hearing" if owner == "seeing" else "seeing"
    model = built(omni, recipe_of(omni, {owner: 1.0, other: 0.0}), tmp_path / "out")
    expert = load_model(str(omni / owner), None)
    ours, theirs = logits(model, modality), logits(expert, modality)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    unlike = load_model(str(omni / "target"), None)
    assert (logits(unlike, modality) - theirs).abs().max() > 0.01


@pytest.mark.parametrize("method", ["ties", "slerp", "naive_mc"])
def test_towers_are_the_owners_bit_by_bit_whatever_the_method(
    omni: Path, tmp_path: Path, method: str
) -> None:
    base = None if method == "naive_mc" else str(omni / "reading")
    weights = {"hearing": 0.7} if method == "slerp" else {"seeing": 0.7, "hearing": 0.4}
    recipe = recipe_of(omni, weights, method, base_model=base, exclude=("embed_tokens", "lm_head"))
    if method == "slerp":
        half = {"t": (Entry(None, 0.5),)}
        recipe = replace(recipe, models=(Source(str(omni / "hearing")),), parameters=half)
    model = built(omni, recipe, tmp_path / "out").state_dict()
    hearing = load_model(str(omni / "hearing"), None).state_dict()
    seeing = load_model(str(omni / "seeing"), None).state_dict()
    for name, tensor in hearing.items():
        if "audio_tower" in name:
            assert torch.equal(model[name], tensor), name
    for name, tensor in seeing.items():
        if "visual" in name and "qkv" not in name:
            assert torch.equal(model[name], tensor), name
    fused = "model.visual.blocks.1.attn.qkv.weight"
    parts = [model[fused.replace("qkv", letter)] for letter in "qkv"]
    assert torch.equal(torch.cat(parts), seeing[fused])


def test_models_of_one_class_merge_their_towers_unless_they_are_given_to_one(omni: Path) -> None:
    own = {"audio_tower": str(omni / "hearing")}
    weights = {"target": 0.5, "hearing": 0.5}
    names = {
        kind: {t.name for t in open_models(recipe_of(omni, weights, towers=towers)).tensors}
        for kind, towers in {"all": {}, "given": own}.items()
    }
    assert {n.split(".")[0] for n in names["all"] - names["given"]} == {"audio_tower"}
    assert any(name.startswith("visual.") for name in names["given"])


def test_a_candidate_leaves_the_towers_alone(omni: Path) -> None:
    recipe = recipe_of(omni, {"seeing": 0.5, "hearing": 0.5})
    said: list[str] = []
    resident = load_resident(recipe, Runtime(report=said.append))
    assert "tower model.visual: 38 tensors from seeing" in said
    assert "tower model.audio_tower: 39 tensors from hearing" in said
    before = {n: p.clone() for n, p in resident.module.named_parameters() if "visual" in n}
    marks = [resident.fingerprint("tower"), resident.fingerprint("projector")]
    for weight in (0.5, 0.1):
        resident.become(recipe_of(omni, {"seeing": weight, "hearing": 0.5}))
    assert marks == [resident.fingerprint("tower"), resident.fingerprint("projector")]
    for name, tensor in before.items():
        assert torch.equal(resident.module.get_parameter(name), tensor)
    with pytest.raises(UserError, match="towers"):
        resident.become(recipe_of(omni, {"seeing": 1.0, "hearing": 0.0}, towers={}))


def test_a_recipe_file_keeps_its_towers_and_they_count_in_the_digest(
    omni: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(omni, {"seeing": 0.5, "hearing": 0.5}, exclude=("lm_head",))
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe
    swapped = recipe_of(omni, {"seeing": 0.5, "hearing": 0.5}, exclude=("lm_head",), towers={})
    assert swapped.digest() != recipe.digest()
    assert str(omni / "hearing") in recipe.references()


def test_mergekit_would_take_a_tower_from_its_owner(omni: Path, tmp_path: Path) -> None:
    recipe = recipe_of(omni, {"seeing": 0.5, "hearing": 0.5})
    write_recipe(recipe, tmp_path / "recipe.yaml")
    from ruamel.yaml import YAML

    models = YAML(typ="safe").load(tmp_path / "recipe.yaml")["models"]
    leads = [model["parameters"]["weight"][:2] for model in models]
    assert [[(e["filter"], e["value"]) for e in lead] for lead in leads] == [
        [("visual", 1.0), ("audio_tower", 0.0)],
        [("visual", 0.0), ("audio_tower", 1.0)],
    ]


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        (
            {"visual": "reading"},
            r"towers\.visual: .*reading \(Qwen2ForCausalLM\) must have a tower with the tensors "
            r"of model\.visual in .*, but has no tower at all",
        ),
        ({"audio_tower": "seeing"}, r"but has only model\.visual: patch_embed\.proj\.weight \("),
        (
            {"audio_tower": "listening"},
            r"its closest, model\.audio_tower: .*\.embed_positions\.weight is \(20, 16\) against "
            r"absent; .*ln_post\.bias is absent against \(16,\)",
        ),
        ({"visuals": "seeing"}, r"towers\.visuals: .* did you mean"),
        ({"visual": "seeing", "model.visual": "seeing"}, "another key fills it"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused_by_its_tensors(
    omni: Path, towers: dict[str, str], message: str
) -> None:
    if not (omni / "listening").exists():
        save(build(FAMILIES["qwen2_audio"](), 4), omni / "listening")
    given = {key: str(omni / owner) for key, owner in towers.items()}
    with pytest.raises(UserError, match=message):
        open_models(recipe_of(omni, {"reading": 1.0}, towers=given))


def test_a_tower_that_the_target_cannot_hold_is_refused_by_its_tensors(omni: Path) -> None:
    recipe = recipe_of(
        omni,
        {"hearing": 1.0},
        target=str(omni / "seeing"),
        towers={"audio_tower": str(omni / "hearing")},
    )
    with pytest.raises(UserError, match=r"nothing in it can hold .* conv1\.weight \(16, 8, 3\)"):
        open_models(recipe)


def test_a_tower_cannot_be_both_kept_and_given(omni: Path) -> None:
    with pytest.raises(UserError, match=r"but exclude keeps the target's \(audio\)"):
        open_models(recipe_of(omni, {"hearing": 1.0}, exclude=("audio",)))


def test_towers_of_another_class_fit_by_names_and_shapes() -> None:
    """LLaVA and LLaVA-NeXT look through the same tower and projector."""
    models = [empty(FAMILIES[name]())[0] for name in ("llava", "llava_next")]
    ours, theirs = (find_towers(model, find_decoder(model)) for model in models)
    assert [tower.name for tower in ours] == ["vision_tower", "multi_modal_projector"]
    assert theirs[0].name == "image_newline"
    for tower in ours:
        own, found = fit(tower, theirs)
        assert own.name == tower.name
        assert len(found) == len(tower.names)
    with pytest.raises(TowerMisfitError, match="has only model"):
        fit(theirs[0], ours)


def test_towers_of_equal_shapes_are_compared_by_their_configs() -> None:
    """A window of another size changes no shape, and every feature."""
    models = [empty(FAMILIES[name]())[0] for name in ("qwen2_5_omni_thinker", "qwen2_5_vl")]
    ours, theirs = (model.get_submodule("model.visual") for model in models)
    assert tower_differences("visual", ours, theirs) == []
    config: Any = theirs.config
    config.window_size = 8
    assert tower_differences("visual", ours, theirs) == [
        "visual: window_size is 16 in the target and 8 in the expert"
    ]


def test_align_says_which_towers_fit(omni: Path) -> None:
    found = align(str(omni / "target"), str(omni / "seeing"))
    assert found.towers == (
        ("model.audio_tower", 39, None),
        ("model.visual", 38, "model.visual"),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_towers_and_decoder_are_the_whole_model(family: str) -> None:
    model = empty(FAMILIES[family]())[0]
    decoder = find_decoder(model)
    towers = find_towers(model, decoder)
    outside = {name for tower in towers for name in tower.names.values()}
    parameters = {name for name, _ in model.named_parameters()}
    assert outside & parameters == parameters - set(decoder.shapes)
    assert all(fit(tower, towers)[0] is tower for tower in towers)


def test_a_fused_tensor_is_made_of_its_parts_too() -> None:
    """The tower of the Omni model in Qwen2.5-VL: the other way round."""
    models = [empty(FAMILIES[n]())[0] for n in ("qwen2_5_vl", "qwen2_5_omni_thinker")]
    ours, theirs = (find_towers(model, find_decoder(model)) for model in models)
    _, found = fit(ours[0], theirs)
    parts = [rows.name for rows in found["model.visual.blocks.0.attn.qkv.bias"]]
    assert parts == [f"model.visual.blocks.0.attn.{letter}.bias" for letter in "qkv"]


def test_a_reading_expert_needs_no_tower(omni: Path, tmp_path: Path) -> None:
    model = built(omni, recipe_of(omni, {"reading": 1.0}), tmp_path / "out")
    reader: Any = load_model(str(omni / "reading"), None)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        ours, theirs = (m(input_ids=ids).logits for m in (model, reader))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert sum("audio_tower" in name for name in written) == 39
