"""LoRA experts: names, arithmetic, what is shared and what is refused. PEFT is not needed here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM

from merge_ops import hub
from merge_ops.checkpoint import open_checkpoints
from merge_ops.disk_names import disk_places
from merge_ops.errors import UserError
from merge_ops.hub import adapter_folder, model_folder, weights_sha256
from merge_ops.loading import empty_model, load_model, load_score_head
from merge_ops.opening import open_models
from merge_ops.placement import plan_models
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.references import locate, relative, short_name, split_adapter
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.tensors import share
from merge_ops.verify import verify_graft
from tests.adapters import PREFIX, factors_for, renamed, save_adapter
from tests.families import FAMILIES, build, build_text
from tests.tiny import DEVICES, save, tiny_llama

GOLDEN = Path(__file__).parent / "golden" / "adapters"
SMALL: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model with some weights of -0.0, which no task vector of zeros gives back."""
    folder: Path = tmp_path_factory.mktemp("adapted") / "base"
    model = tiny_llama(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.view(-1)[3] = -0.0
    save(model, folder)
    return folder


@pytest.fixture(scope="module")
def text_factors(base: Path) -> dict[str, Tensor]:
    return factors_for(load_model(str(base), None), "q_proj", "down_proj")


Refused = Callable[..., str]


@pytest.fixture
def refused(base: Path, tmp_path: Path) -> Refused:
    """Put an adapter on the text model; gives the one line that refuses it."""

    def put(tensors: dict[str, Tensor], **settings: Any) -> str:
        adapter = save_adapter(tmp_path / "adapter", tensors, **settings)
        with pytest.raises(UserError) as error:
            open_checkpoints([f"{base}+{adapter}"], None)
        assert "\n" not in str(error.value)
        return str(error.value)

    return put


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / 2**0.5),
        ({"alpha_pattern": {"q_proj": 8}}, 4.0),
        ({"alpha_pattern": {"layers.1.self_attn.q_proj": 8}}, 3.0),
        ({"alpha_pattern": {r"model\.layers\.[0].*": 1}, "rank_pattern": {"q_proj": 2}}, 0.5),
        ({"alpha_pattern": {"proj": 1}}, 3.0),  # a pattern meets whole parts of a name
        ({"target_modules": "nothing", "layers_to_transform": [7]}, 3.0),  # the tensors say it
    ],
)
def test_an_update_is_scale_times_b_a(
    base: Path,
    text_factors: dict[str, Tensor],
    tmp_path: Path,
    settings: dict[str, Any],
    scale: float,
) -> None:
    reference = f"{base}+{save_adapter(tmp_path / 'adapter', text_factors, **settings)}"
    opened = open_checkpoints([reference, str(base)], "float32")
    a, b = (text_factors[f"{PREFIX}{Q}.lora_{part}.weight"] for part in "AB")
    before, after = (opened[ref].read(f"{Q}.weight") for ref in (str(base), reference))
    assert torch.equal(after, before + (b @ a) * scale)
    assert not opened[reference].is_computed("model.norm.weight")
    assert opened[reference].model is opened[str(base)].model  # one model, two views of it
    loaded = load_model(reference, "float32").state_dict()
    assert all(torch.equal(opened[reference].read(name), loaded[name]) for name in loaded)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_factors_in_half_precision_are_multiplied_in_float32(
    base: Path, tmp_path: Path, stored: torch.dtype
) -> None:
    factors = factors_for(load_model(str(base), None), "q_proj", dtype=stored)
    reference = f"{base}+{save_adapter(tmp_path, factors)}"
    opened = open_checkpoints([reference, str(base)], "bfloat16")
    a, b = (factors[f"{PREFIX}{Q}.lora_{part}.weight"].float() for part in "AB")
    before = opened[str(base)].read(f"{Q}.weight")
    after = opened[reference].read(f"{Q}.weight")
    assert after.dtype == torch.bfloat16
    assert torch.equal(after, (before.float() + (b @ a) * 3).bfloat16())  # rounded once


@pytest.mark.parametrize("case", ["lora", "dora", "embeddings"])
def test_golden_values_of_peft(case: str) -> None:
    expected = load_file(GOLDEN / f"{case}.safetensors")
    plain = load_model(str(GOLDEN / "model"), None).state_dict()
    got = load_model(f"{GOLDEN}/model+{GOLDEN}/{case}", None).state_dict()
    for name, tensor in plain.items():
        torch.testing.assert_close(got[name], expected.get(name, tensor), rtol=1e-6, atol=1e-7)
        assert torch.equal(got[name], tensor) == (name not in expected)


def test_experts_that_loading_fuses_stay_as_they_are(tmp_path: Path) -> None:
    """Of such a model nothing is read by itself: it is loaded whole, once for all its adapters."""
    kind: Any = MixtralForCausalLM
    model = kind(MixtralConfig(**SMALL, num_local_experts=2)).eval()
    model.save_pretrained(tmp_path / "moe")
    factors = factors_for(model, "q_proj")
    adapters = [save_adapter(tmp_path / name, factors) for name in "ab"]
    references = [f"{tmp_path}/moe", *(f"{tmp_path}/moe+{adapter}" for adapter in adapters)]
    opened = open_checkpoints(references, None)
    assert not opened[references[0]].places
    loaded = load_model(references[1], None).state_dict()
    for name, _ in model.named_parameters():
        first, second = (opened[ref].read(name) for ref in references[1:])
        assert torch.equal(first, loaded[name])
        assert torch.equal(second, loaded[name])
        same = opened[references[0]].read(name).data_ptr() == first.data_ptr()
        assert same == ("q_proj" not in name)
    fused = {
        f"{PREFIX}model.layers.0.block_sparse_moe.experts.0.w1.lora_{p}.weight": t
        for p, t in {"A": torch.ones(2, 16), "B": torch.ones(24, 2)}.items()
    }
    with pytest.raises(UserError, match=r"has not model\.layers\.0\.block_sparse_moe"):
        load_model(f"{tmp_path}/moe+{save_adapter(tmp_path / 'fused', fused)}", None)


@pytest.mark.parametrize(
    "family", ["llava", "qwen2_vl", "qwen2_5_vl", "mllama", "gemma3", "internvl", "idefics3"]
)
def test_an_adapter_goes_by_current_legacy_and_text_names(family: str, tmp_path: Path) -> None:
    made = FAMILIES[family]()
    model, text = build(made), build_text(made.text)
    model.save_pretrained(tmp_path / "vlm")
    text.save_pretrained(tmp_path / "text")
    vlm = str(tmp_path / "vlm")
    places = disk_places(model_folder(vlm), empty_model(vlm))
    on_text = factors_for(text, "q_proj", "up_proj")
    (names, own) = share([model, text]).names
    current, legacy = {}, {}
    for key, tensor in on_text.items():
        module, _, part = key.removeprefix(PREFIX).partition(".lora_")
        parameter = names[f"{module}.weight"]
        assert own[f"{module}.weight"] == f"{module}.weight"
        current[f"{PREFIX}{parameter.removesuffix('.weight')}.lora_{part}"] = tensor
        on_disk = places[parameter].key.removesuffix(".weight")
        legacy[f"{PREFIX}{on_disk}.lora_{part}"] = tensor
    expected = {names[f"{m}.weight"] for m in _modules(on_text)}
    read = []
    for name, tensors in {"current": current, "legacy": legacy, "text": on_text}.items():
        reference = f"{vlm}+{save_adapter(tmp_path / name, tensors)}"
        opened = open_checkpoints([reference], None)[reference]
        assert opened.adapter is not None
        assert set(opened.adapter.edits) == expected
        read.append({parameter: opened.read(parameter) for parameter in expected})
    for other in read[1:]:
        assert all(torch.equal(other[name], read[0][name]) for name in expected)
    if family == "mllama":  # its layers 1 and 4 are not the text model's
        assert any(".layers.5." in name for name in expected)
        assert not any(".layers.1." in name for name in expected)


def _modules(tensors: dict[str, Tensor]) -> set[str]:
    return {key.removeprefix(PREFIX).partition(".lora_")[0] for key in tensors}


def test_an_adapter_of_the_tower_is_the_towers(tmp_path: Path) -> None:
    model = build(FAMILIES["llava"]())
    model.save_pretrained(tmp_path / "vlm")
    factors = factors_for(model, "vision_tower.encoder.layers.0.self_attn.q_proj", "linear_1")
    legacy = renamed(factors, "model.vision_tower.", "vision_tower.vision_model.")
    legacy = renamed(legacy, "model.multi_modal_projector.", "multi_modal_projector.")
    reference = f"{tmp_path}/vlm+{save_adapter(tmp_path / 'adapter', legacy)}"
    opened = open_checkpoints([reference], None)[reference]
    assert opened.adapter is not None
    assert {name.split(".")[1] for name in opened.adapter.edits} == {
        "vision_tower",
        "multi_modal_projector",
    }


def test_a_text_adapter_is_grafted_with_its_model(tmp_path: Path) -> None:
    made = FAMILIES["llava"]()
    build(made).save_pretrained(tmp_path / "vlm")
    text = build_text(made.text)
    text.save_pretrained(tmp_path / "text")
    adapter = save_adapter(tmp_path / "adapter", factors_for(text, "q_proj", "v_proj"))
    verified = verify_graft(f"{tmp_path}/vlm", f"{tmp_path}/text+{adapter}")
    assert verified.difference == 0.0
    assert verified.holds


def test_the_target_may_have_an_adapter(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", factors_for(tiny_llama(0), "k_proj"))
    target = f"{base}+{adapter}"
    recipe = Recipe("passthrough", (Source(str(base)),), target=target, exclude=("self_attn",))
    resident = load_resident(recipe, Runtime())
    resident.become(recipe)
    for name, tensor in load_model(target, None).state_dict().items():
        assert torch.equal(resident.module.state_dict()[name], tensor)


@pytest.fixture(scope="module")
def pair(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two adapters on one model, and the same two models merged and saved whole."""
    root = tmp_path_factory.mktemp("pair")
    model = load_model(str(base), None)
    found: dict[str, list[str]] = {"adapters": [], "dense": []}
    for seed, endings in enumerate([("q_proj", "v_proj"), ("q_proj", "down_proj")]):
        factors = factors_for(model, *endings, seed=seed)
        reference = f"{base}+{save_adapter(root / f'adapter{seed}', factors)}"
        save(load_model(reference, None), root / f"dense{seed}")
        found["adapters"].append(reference)
        found["dense"].append(str(root / f"dense{seed}"))
    return found


def two(method: str, models: list[str], base: str | None) -> Recipe:
    weights = ({"weight": (Entry(None, value),)} for value in (0.75, 0.5))
    sources = [Source(m, w) for m, w in zip(models, weights, strict=True)]
    parameters: dict[str, Any] = {} if base is None else {"density": (Entry(None, 0.6),)}
    if method == "task_arithmetic":
        parameters = {}
    return Recipe(method, tuple(sources), base, parameters, dtype="float32")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("room", ["device", "mapped"])
@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties", "dare_linear", "tsv"])
def test_adapters_merge_like_whole_models_bit_for_bit(
    base: Path, pair: dict[str, list[str]], method: str, room: str, device: str
) -> None:
    start = None if method == "linear" else str(base)
    states, plans = [], []
    for kind in ("adapters", "dense"):
        recipe = two(method, pair[kind], start)
        if method == "tsv":
            recipe = Recipe(method, recipe.models, start, dtype="float32")
        needed = plan_models(open_models(recipe), recipe, Runtime(device))
        fixed = sum(item.size for item in needed.items if not item.movable)
        said: list[str] = []
        memory = fixed if room == "mapped" else None
        resident = load_resident(recipe, Runtime(device, memory=memory, report=said.append))
        resident.become(recipe)
        states.append(resident.module.state_dict())
        plans.append("\n".join(said))
    for name, tensor in states[1].items():
        assert torch.equal(states[0][name].view(torch.int32), tensor.view(torch.int32)), name
    word = "computed from its files, tensor by tensor"
    assert (word in plans[0]) == (room == "mapped" and device == "cpu")  # elsewhere it is pinned
    assert word not in plans[1]


def test_the_plan_counts_what_adapters_change(base: Path, pair: dict[str, list[str]]) -> None:
    recipe = two("ties", pair["adapters"], str(base))
    opened = open_models(recipe)
    plan = plan_models(opened, recipe, Runtime())
    sizes = {item.what: item.size for item in plan.items}
    every = load_file(base / "model.safetensors")
    changed = sum(v.nbytes for n, v in every.items() if "q_proj" in n or "v_proj" in n)
    assert sizes["base base"] == sum(v.nbytes for v in every.values())
    assert sizes["expert base+adapter0"] == changed
    largest = max(v.nbytes for n, v in every.items() if "proj" in n)
    assert 0 < sizes["one tensor of each adapter"] <= 3 * largest
    assert sizes["zeros for what adapters leave"] == max(v.nbytes for v in every.values())
    plain = plan_models(open_models(two("ties", pair["dense"], str(base))), recipe, Runtime())
    assert not any("adapter" in item.what for item in plain.items)


def test_a_reference_is_a_model_with_or_without_an_adapter(tmp_path: Path) -> None:
    for name in ("base", "lora", "a+b", "odd+one", "sub/lora"):
        (tmp_path / name).mkdir(parents=True)
    assert locate("base+lora", tmp_path) == f"{tmp_path}/base+{tmp_path}/lora"
    assert locate("owner/m@v1.0+owner/a@dev", tmp_path) == "owner/m@v1.0+owner/a@dev"
    assert locate("base+owner/a", tmp_path) == f"{tmp_path}/base+owner/a"
    assert locate("a+b", tmp_path) == str(tmp_path / "a+b")  # a folder with that name
    assert locate("odd+one+lora", tmp_path) == f"{tmp_path}/odd+one+{tmp_path}/lora"
    assert locate("base+a+b", tmp_path) == f"{tmp_path}/base+{tmp_path}/a+b"
    for text in ("base+lora", "odd+one+lora", "base+owner/a@x"):
        assert relative(locate(text, tmp_path), tmp_path) == text
    assert split_adapter("owner/m") == ("owner/m", None)
    assert short_name(locate("base+lora", tmp_path)) == "base+lora"
    for text, said in {
        "base+lore": "'lore' is neither a folder",
        "base+": "must name a model and an adapter",
        "+lora": "must name a model and an adapter",
        "base+lora+lora": r"'lora\+lora' is neither.*takes one adapter",
        "base+sub/lore": r"there is no folder 'sub/lore', did you mean 'lora'\?",
    }.items():
        with pytest.raises(ValueError, match=said):
            locate(text, tmp_path)


def test_hub_ids_and_revisions_on_both_sides(
    base: Path, text_factors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = save_adapter(tmp_path / "adapter", text_factors)
    asked = []

    def download(reference: str) -> Path:
        asked.append(reference)
        return base if "model" in reference else Path(adapter)

    monkeypatch.setattr(hub, "download", download)
    reference = "owner/model@v1+owner/adapter@v2"
    assert load_model(reference, None).get_parameter(f"{Q}.weight").shape == (16, 16)
    assert set(asked) == {"owner/model@v1", "owner/adapter@v2"}
    assert weights_sha256(reference) == weights_sha256(f"{base}+{adapter}")


def test_identities_cover_model_and_adapter(
    base: Path, text_factors: dict[str, Tensor], tmp_path: Path
) -> None:
    one = f"{base}+{save_adapter(tmp_path / 'one', text_factors)}"
    same = f"{base}+{save_adapter(tmp_path / 'same', text_factors)}"
    scaled = f"{base}+{save_adapter(tmp_path / 'scaled', text_factors, lora_alpha=7)}"
    values = {k: v + 1 for k, v in text_factors.items()}
    other = f"{base}+{save_adapter(tmp_path / 'other', values)}"
    assert weights_sha256(one) == weights_sha256(same)
    assert len({weights_sha256(ref) for ref in (str(base), one, scaled, other)}) == 4


@pytest.mark.parametrize("kind", ["IA3", "ADALORA", "PROMPT_TUNING", "LOHA", None])
def test_another_kind_of_adapter_is_named(
    refused: Refused, text_factors: dict[str, Tensor], kind: str | None
) -> None:
    said = refused(text_factors, peft_type=kind)
    assert f"must be LoRA, but adapter_config.json says peft_type {kind!r}" in said
    assert "merge_and_unload" in said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lora_bias": True}, "sets lora_bias"),
        ({"trainable_token_indices": [1]}, "sets trainable_token_indices"),
        ({"alora_invocation_tokens": [1]}, "no one set of weights"),
        ({"layer_replication": [[0, 2]]}, "it changes the depth of the model"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
        ({"r": 3}, "says rank 3 for it"),
        ({"rank_pattern": {"q_proj": 4}}, "says rank 4 for it"),
        ({"r": 0}, "r must be a positive whole number, but is 0"),
        ({"lora_alpha": "16"}, "lora_alpha must be a finite number, but is '16'"),
        ({"alpha_pattern": {"q_(": 1}}, "'q_(' is no pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern must be a mapping"),
    ],
)
def test_settings_that_are_not_supported_are_named(
    refused: Refused, text_factors: dict[str, Tensor], settings: dict[str, Any], expected: str
) -> None:
    assert expected in refused(text_factors, **settings)


def test_modules_that_the_model_lacks_are_named(
    refused: Refused, text_factors: dict[str, Tensor]
) -> None:
    said = refused(renamed(text_factors, "model.layers.2.", "model.layers.7."))
    assert "model.layers.7.mlp.down_proj, model.layers.7.self_attn.q_proj" in said
    assert "did you mean 'model.layers." in said
    assert "LlamaForCausalLM" in said
    extra = {f"{PREFIX}model.mm_projector.weight": torch.ones(2, 2)}
    assert "has not model.mm_projector.weight" in refused({**text_factors, **extra})


def test_shapes_that_differ_are_named(refused: Refused, text_factors: dict[str, Tensor]) -> None:
    key = f"{PREFIX}{Q}.lora_B.weight"
    said = refused({**text_factors, key: torch.ones(24, 2)})
    assert f"{key} (24, 2) x {PREFIX}{Q}.lora_A.weight (2, 16) is (24, 16)" in said
    assert f"but {Q}.weight is (16, 16)" in said
    said = refused({**text_factors, key: torch.ones(16, 3)})
    assert "factors must be matrices (rank, in) and (out, rank)" in said
    whole = {f"{PREFIX}model.embed_tokens.weight": torch.ones(40, 16)}
    said = refused({**text_factors, **whole})
    assert "embed_tokens.weight is (40, 16), but model.embed_tokens.weight is (32, 16)" in said


def test_damaged_files_are_named(refused: Refused, text_factors: dict[str, Tensor]) -> None:
    half = {k: v for k, v in text_factors.items() if "lora_B" not in k}
    assert "must have one pair of factors, A and B, but has lora_A" in refused(half)
    assert "must hold tensors, but is empty" in refused({})
    twice = {f"{PREFIX}{Q}.lora_A.other.weight": torch.ones(2, 16)}
    assert "one file must hold one adapter" in refused({**text_factors, **twice})
    packed = {k: v.to(torch.int8) for k, v in text_factors.items()}
    assert "must be stored as one of F64, F32, BF16, F16, but is I8" in refused(packed)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("where", ["device", "mapped"])
def test_an_adapter_that_is_not_finite_is_named(
    base: Path, text_factors: dict[str, Tensor], tmp_path: Path, value: float, where: str
) -> None:
    key = f"{PREFIX}{Q}.lora_A.weight"
    damaged = text_factors[key].clone()
    damaged[1, 2] = value
    adapter = save_adapter(tmp_path / "adapter", {**text_factors, key: damaged})
    recipe = two("task_arithmetic", [f"{base}+{adapter}", str(base)], str(base))
    recipe = Recipe("task_arithmetic", recipe.models[:1], str(base), dtype="float32")
    opened = open_models(recipe)
    plan = plan_models(opened, recipe, Runtime())
    fixed = sum(item.size for item in plan.items if not item.movable)
    with pytest.raises(UserError, match=f"{adapter}: weights must be finite, but {key} is not"):
        load_resident(recipe, Runtime(memory=fixed if where == "mapped" else None)).become(recipe)


def test_pickles_and_folders_without_an_adapter_are_refused(base: Path, tmp_path: Path) -> None:
    folder = Path(save_adapter(tmp_path / "pickled", {"x": torch.ones(1)}))
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"LoRA adapter as a pickle .*mergetuna convert .*--allow-pickle"
    ):
        adapter_folder(f"{base}+{folder}")
    with pytest.raises(UserError, match=r"must be a PEFT adapter with adapter_config\.json"):
        adapter_folder(f"{base}+{base}")
    alone = save_adapter(tmp_path / "alone", {"x": torch.ones(1)})
    with pytest.raises(UserError, match=rf"it is an adapter, .* MODEL\+{alone}"):
        model_folder(alone)
    both = save_adapter(tmp_path / "both", {"x": torch.ones(1)})  # PEFT would put it on, unasked
    tiny_llama(0).save_pretrained(both)
    with pytest.raises(UserError, match=r"holds both \(model.safetensors, adapter_config.json\)"):
        model_folder(both)
    llava = Path(save_adapter(tmp_path / "llava", {"x": torch.ones(1)}))
    (llava / "non_lora_trainables.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"non_lora_trainables\.bin, a pickle, holds weights"):
        adapter_folder(f"{base}+{llava}")


def test_a_tied_tensor_takes_one_update_and_is_not_replaced(tmp_path: Path) -> None:
    tied = tiny_llama(0, tied=True)
    tied.save_pretrained(tmp_path / "tied")
    whole = {f"{PREFIX}model.embed_tokens.weight": torch.ones(32, 16)}
    replaced = save_adapter(tmp_path / "replaced", whole)
    with pytest.raises(UserError, match=r"tied to another tensor.*tie_word_embeddings: false"):
        load_model(f"{tmp_path}/tied+{replaced}", None)
    head = save_adapter(tmp_path / "head", factors_for(tied, "lm_head"))
    reference = f"{tmp_path}/tied+{head}"
    opened = open_checkpoints([reference], None)[reference]
    assert opened.adapter is not None
    assert set(opened.adapter.edits) == {"lm_head.weight", "model.embed_tokens.weight"}
    assert any("embeddings and head both take" in note for note in opened.adapter.notes)


@pytest.mark.parametrize(
    ("trained_on", "told"),
    [("owner/base", False), ("owner/other", True), ("", False), (None, False), ("base", False)],
)
def test_another_model_than_the_adapters_own_is_noted(
    base: Path, text_factors: dict[str, Tensor], tmp_path: Path, trained_on: str, told: bool
) -> None:
    adapter = save_adapter(tmp_path, text_factors, base_model_name_or_path=trained_on)
    said: list[str] = []
    recipe = Recipe("passthrough", (Source(f"{base}+{adapter}"),))
    load_resident(recipe, Runtime(report=said.append))
    notes = [line for line in said if line.startswith("note: ")]
    assert notes == ([f"note: {adapter} was trained on {trained_on}, and is put on {base}"] * told)


def test_a_reward_heads_factors_are_refused(base: Path, tmp_path: Path) -> None:
    factors = {
        f"{PREFIX}score.lora_A.weight": torch.ones(2, 16),
        f"{PREFIX}score.lora_B.weight": torch.ones(1, 2),
    }
    adapter = save_adapter(tmp_path, factors)
    with pytest.raises(UserError, match="a reward head must be whole"):
        load_score_head(f"{base}+{adapter}")


def test_a_config_that_is_no_json_is_refused(refused: Refused, tmp_path: Path, base: Path) -> None:
    refused({})
    (tmp_path / "adapter" / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        open_checkpoints([f"{base}+{tmp_path}/adapter"], None)
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="must be a mapping"):
        open_checkpoints([f"{base}+{tmp_path}/adapter"], None)
