"""Models that cannot be merged are refused in one line that names tensors, shapes or files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import load_model, load_score_head
from merge_ops.opening import open_models
from merge_ops.recipe import Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.tokens import tokens_of
from merge_ops.verify import VOCABULARY, donor_recipe
from tests.families import FAMILIES, TEXT, build, build_text
from tests.tiny import save, write_tokenizer


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("llava") / "vlm"
    save(build(FAMILIES["llava"]()), folder)
    return str(folder)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text model that fits, in a folder of its own that a test may damage."""
    return save_text(tmp_path / "text")


def save_text(folder: Path, **changes: object) -> Path:
    config = type(FAMILIES["llava"]().text)(**{**TEXT, **changes})
    save(build_text(config), folder)
    return folder


def rewrite(folder: Path, name: str, tensor: Tensor | None) -> None:
    """Replace one tensor of a model, or take it out."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors[name]
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, path, metadata={"format": "pt"})


def refusal(target: str, donor: Path, exclude: tuple[str, ...] = VOCABULARY) -> str:
    """The one line with which a donor is refused."""
    with pytest.raises(UserError) as refused:
        open_models(donor_recipe(target, str(donor), exclude))
    assert "\n" not in str(refused.value)
    return str(refused.value)


Q = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"num_hidden_layers": 3},
            ["has 3 layers", "has 4 of the same kind among 4", "number and"],
        ),
        ({"num_hidden_layers": 5}, ["has 4 layers", "has 5 of the same kind among 5"]),
        (
            {"hidden_size": 64},
            ["mlp.up_proj.weight is (48, 32) against (48, 64)", f"{Q}.weight is (32, 32)"],
        ),
        ({"attention_bias": True}, [f"{Q}.bias is absent against (32,)"]),
    ],
)
def test_layers_that_do_not_pair(
    llava: str, tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    said = refusal(llava, save_text(tmp_path, **changes))
    for part in ("LlavaForConditionalGeneration", "LlamaForCausalLM", *expected):
        assert part in said


def test_a_target_with_biases_that_the_expert_lacks(tmp_path: Path, text: Path) -> None:
    save(build(FAMILIES["internvl"]()), tmp_path / "vlm")
    said = refusal(str(tmp_path / "vlm"), text)
    assert f"{Q}.bias is (32,) against absent" in said or f"{Q}.bias is absent against" in said


def test_another_vocabulary_if_embeddings_are_asked_for(llava: str, tmp_path: Path) -> None:
    donor = save_text(tmp_path, vocab_size=144)
    write_tokenizer(donor, {i: f"other{i}" for i in range(144)})
    said = refusal(llava, donor, ())
    assert f"those of {llava}, {donor} agree on no id" in said
    assert f"(0 is 't0' in vlm and 'other0' in {donor.name})" in said
    assert "mergetuna.exclude" in said
    (donor / "tokenizer.json").unlink()
    tokens_of.cache_clear()
    said = refusal(llava, donor, ())
    assert said.startswith(f"{donor}: ")
    assert "holds no tokenizer" in said
    assert "mergetuna.exclude" in said
    (donor / "tokenizer.json").write_text("{}")
    tokens_of.cache_clear()
    assert f"{donor / 'tokenizer.json'}: it cannot be read" in refusal(llava, donor, ())
    open_models(donor_recipe(llava, str(donor), VOCABULARY))  # kept from the target: nothing lost


def test_a_head_that_is_tied_in_the_target_alone(tmp_path: Path, text: Path) -> None:
    tied = save_text(tmp_path / "tied", tie_word_embeddings=True)
    said = refusal(str(tied), text, ())
    assert "model.embed_tokens.weight must be tied to lm_head.weight in all models" in said
    assert "lm_head.weight (160, 32) has no place in the target" in said
    open_models(donor_recipe(str(text), str(tied), ()))  # the other way round nothing is lost


@pytest.mark.parametrize(
    ("where", "settings"),
    [
        ("whole", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        ("language model", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("whole", {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}),
        ("whole", {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}),
        ("whole", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    ],
)
def test_a_config_of_quantised_weights(
    llava: str, text: Path, where: str, settings: dict[str, Any]
) -> None:
    source = text if where == "whole" else Path(llava)
    config = json.loads((source / "config.json").read_text())
    part = config if where == "whole" else config["text_config"]
    part["quantization_config"] = settings
    (text / "config.json").write_text(json.dumps(config))
    said = refusal(llava, text)
    assert str(text) in said
    assert "dequantise" in said
    with pytest.raises(UserError, match="dequantise"):
        load_model(str(text), None)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_weights_that_are_no_floating_point(llava: str, text: Path, dtype: torch.dtype) -> None:
    rewrite(text, f"{Q}.weight", torch.ones(32, 32).to(dtype))
    said = refusal(llava, text)
    assert f"{Q}.weight must be stored as one of" in said
    assert "dequantise" in said


def test_an_index_that_names_missing_files(llava: str, tmp_path: Path) -> None:
    config = FAMILIES["llava"]().text
    build_text(config).save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    shutil.copyfile(Path(llava) / "tokenizer.json", tmp_path / "sharded" / "tokenizer.json")
    files = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(files) > 2
    open_models(donor_recipe(llava, str(tmp_path / "sharded"), ()))
    model_folder.cache_clear()
    files[1].unlink()
    said = refusal(llava, tmp_path / "sharded")
    assert f"1 are not: {files[1].name}" in said
    (tmp_path / "sharded" / "model.safetensors.index.json").write_text("{}")
    assert "no index" in refusal(llava, tmp_path / "sharded")


def test_an_old_index_beside_a_whole_model_is_passed_over(llava: str, text: Path) -> None:
    (text / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone"}}')
    open_models(donor_recipe(llava, str(text), ()))


@pytest.mark.parametrize("kept", [0, 5, 300, 0.5, 0.99])
def test_a_file_that_is_cut_short(llava: str, text: Path, kept: float) -> None:
    path = text / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    assert f"{path}: it cannot be read as safetensors" in refusal(llava, text)
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        load_score_head(str(text))


def test_a_tensor_that_is_missing_on_disk(llava: str, text: Path) -> None:
    rewrite(text, f"{Q}.weight", None)
    recipe = donor_recipe(llava, str(text), VOCABULARY)
    with pytest.raises(UserError, match=r"missing keys are \['model.layers.0.self_attn.q_proj"):
        load_resident(recipe, Runtime())


def test_a_tensor_of_another_shape_than_the_config_says(llava: str, text: Path) -> None:
    rewrite(text, f"{Q}.weight", torch.zeros(32, 16))
    assert "q_proj.weight is (32, 16) on disk and (32, 32) in the model" in refusal(llava, text)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties", "slerp", "tsv"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_expert_that_holds_nan_is_named_at_the_first_become(
    llava: str, tmp_path: Path, text: Path, method: str, value: float
) -> None:
    base = save_text(tmp_path / "base")
    name = "model.layers.2.mlp.up_proj.weight"
    damaged = load_file(text / "model.safetensors")[name]
    damaged[3, 4] = value
    rewrite(text, name, damaged)
    needs_base = method in {"task_arithmetic", "ties", "slerp", "tsv"}
    sources = [Source(str(text))] if needs_base else [Source(str(base)), Source(str(text))]
    recipe = Recipe(
        method,
        tuple(sources),
        str(base) if needs_base else None,
        dtype="float32",
        target=llava,
        exclude=VOCABULARY,
    )
    resident = load_resident(recipe, Runtime())
    with pytest.raises(UserError) as refused:
        resident.become(recipe)
    assert str(refused.value).startswith(f"{name}: weights must be finite, but those of {text}")
