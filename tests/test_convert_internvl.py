"""InternVL's remote-code layout becomes transformers': equal logits, or a named refusal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoTokenizer, InternVLProcessor

from merge_ops.atomic import new_folder
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.loading import load_model
from merge_ops.old_layouts.conversion import convert
from merge_ops.old_layouts.internvl_config import read_internvl, translated
from merge_ops.runtime import Runtime
from merge_ops.verify import verify_graft
from tests.internvl_twin import (
    BIG_VISION,
    CONTEXT,
    TEXT,
    build_twin,
    old_config,
    save_twin,
)

DYNAMIC = {"type": "dynamic", "factor": 2.0}
SU = {"type": "su", "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 2.1, 2.2, 2.3]}
INTERNLM2 = {**TEXT, "bias": False, "model_type": "internlm2", "attn_implementation": "eager"}

VARIANTS: Mapping[str, dict[str, Any]] = {
    "qwen2": old_config("Qwen2ForCausalLM", TEXT, template="Hermes-2"),
    "qwen2, dynamic": old_config("Qwen2ForCausalLM", {**TEXT, "rope_scaling": DYNAMIC}),
    "qwen2, tied": old_config("Qwen2ForCausalLM", {**TEXT, "tie_word_embeddings": True}),
    "qwen3": old_config("Qwen3ForCausalLM", {**TEXT, "head_dim": 8}),
    "llama": old_config("LlamaForCausalLM", TEXT),
    "phi3": old_config(
        "Phi3ForCausalLM",
        {**TEXT, "rope_scaling": SU, "original_max_position_embeddings": 24},
        template="phi3-chat",
    ),
    "internlm2": old_config("InternLM2ForCausalLM", INTERNLM2, template="internlm2-chat"),
    "internlm2, biased": old_config("InternLM2ForCausalLM", {**INTERNLM2, "bias": True}),
    "internlm2, dynamic": old_config(
        "InternLM2ForCausalLM",
        {**INTERNLM2, "rope_scaling": DYNAMIC, "max_position_embeddings": 16},
    ),
    "6B tower": old_config("InternLM2ForCausalLM", INTERNLM2, vision_config=dict(BIG_VISION)),
    "other layer": old_config("Qwen2ForCausalLM", TEXT, select_layer=-2),
    "other size": old_config("Qwen2ForCausalLM", TEXT, force_image_size=24),
}


def inputs(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts with a picture each: ids (2, T) and pixels (2, 3, S, S)."""
    generator = torch.Generator().manual_seed(1)
    tokens = (size // 8) ** 2
    ids = torch.randint(3, 140, (2, 15 + tokens), generator=generator)
    ids[:, 4 : 4 + tokens] = CONTEXT
    return ids, torch.randn(2, 3, size, size, generator=generator)


@pytest.mark.parametrize("name", VARIANTS)
def test_equal_logits(name: str, tmp_path: Path) -> None:
    twin = build_twin(VARIANTS[name])
    convert(str(save_twin(twin, tmp_path / "old")), tmp_path / "new")
    model: Any = load_model(str(tmp_path / "new"), None)
    ids, pixels = inputs(int(VARIANTS[name]["force_image_size"]))
    with torch.no_grad():
        found = model(input_ids=ids, pixel_values=pixels).logits
    expected = twin(ids, pixels)
    assert (found - expected).abs().max() < 2e-6 * max(1.0, float(expected.abs().max()))
    blind = twin(ids, torch.zeros_like(pixels))
    assert (blind - expected).abs().max() > 1e-3  # the picture counts


def test_internlm2_by_itself_is_a_llama(tmp_path: Path) -> None:
    twin = build_twin(VARIANTS["internlm2, dynamic"])
    (tmp_path / "old").mkdir()
    config = {**twin.config["llm_config"], "auto_map": {"AutoModel": "x.Y"}}
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    save_file(twin.language_model.state_dict(), tmp_path / "old" / "model.safetensors")
    with pytest.raises(UserError, match=r"\(InternLM2ForCausalLM\).*mergetuna convert"):
        model_folder(str(tmp_path / "old"))
    convert(str(tmp_path / "old"), tmp_path / "new")
    model: Any = load_model(str(tmp_path / "new"), None)
    assert type(model).__name__ == "LlamaForCausalLM"
    ids, _ = inputs(16)
    with torch.no_grad():
        expected = twin.language_model(twin.language_model.get_input_embeddings()(ids))
        assert (model(input_ids=ids).logits - expected).abs().max() < 2e-6


def test_both_converted_the_language_model_is_an_expert(new: Path, tmp_path: Path) -> None:
    expert = build_twin(VARIANTS["internlm2"], seed=5)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps(expert.config["llm_config"]))
    save_file(expert.language_model.state_dict(), tmp_path / "old" / "model.safetensors")
    convert(str(tmp_path / "old"), tmp_path / "new")
    verified = verify_graft(str(new), str(tmp_path / "new"), Runtime())
    assert (verified.difference, verified.grafted) == (0, 21)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    twin = build_twin(VARIANTS["internlm2"])
    return save_twin(twin, tmp_path_factory.mktemp("internvl") / "old")


@pytest.fixture(scope="module")
def new(old: Path) -> Path:
    convert(str(old), old.parent / "new")
    return old.parent / "new"


def test_no_remote_code_is_left(new: Path) -> None:
    assert not list(new.glob("*.py"))
    assert "auto_map" not in (new / "config.json").read_text()
    assert "auto_map" not in (new / "tokenizer_config.json").read_text()


def test_names_are_those_of_published_converted_models(new: Path) -> None:
    with safe_open(new / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "language_model.model.layers.1.self_attn.k_proj.weight" in names
    assert "vision_tower.encoder.layer.1.attention.projection_layer.bias" in names
    assert "multi_modal_projector.linear_2.weight" in names
    assert not [name for name in names if "qkv" in name or "mlp1" in name]


def test_files_beside_the_weights(new: Path) -> None:
    read = {path.name: json.loads(path.read_text()) for path in new.glob("*.json")}
    assert read["config.json"]["image_token_id"] == CONTEXT
    assert read["config.json"]["image_seq_length"] == 4
    assert read["processor_config.json"]["image_seq_length"] == 4
    image = read["preprocessor_config.json"]
    assert (image["size"], image["max_patches"]) == ({"height": 16, "width": 16}, 12)
    assert image["crop_to_patches"] is True
    assert read["generation_config.json"] == {
        "bos_token_id": 1,
        "eos_token_id": [2, 152],  # the old one, and the one that ends the remote code's answers
        "pad_token_id": 0,
    }


def test_prompts_are_those_of_the_remote_chat(new: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(new)
    assert tokenizer.context_image_token_id == CONTEXT
    turns = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what's it?"}]},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": "sure?"},
    ]
    written = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    system, _, rest = written.partition("<|im_end|>")
    assert system.startswith("<|im_start|>system\n你是由上海")
    assert rest == (
        "<|im_start|>user\n<IMG_CONTEXT>\nwhat's it?<|im_end|><|im_start|>assistant\na cat"
        "<|im_end|><|im_start|>user\nsure?<|im_end|><|im_start|>assistant\n"
    )
    own = [{"role": "system", "content": "be brief"}, *turns[2:]]
    written = tokenizer.apply_chat_template(own, tokenize=False)
    assert written == ("<|im_start|>system\nbe brief<|im_end|><|im_start|>user\nsure?<|im_end|>")


class Pictures(InternVLProcessor):
    """Without videos, whose processor needs torchvision."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_seq_length: int = 256,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(image_processor, tokenizer, None, image_seq_length, chat_template)


def tiles(picture: Image.Image, size: int, most: int) -> torch.Tensor:
    """Tiles and thumbnail as the remote code's example cuts them: (tiles, 3, size, size)."""
    width, height = picture.size
    grids = [(w, h) for w in range(1, most + 1) for h in range(1, most + 1) if w * h <= most]
    best = (1, 1)
    for grid in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        gap, least = (abs(width / height - g[0] / g[1]) for g in (grid, best))
        tie = gap == least and width * height > 0.5 * size**2 * grid[0] * grid[1]
        best = grid if gap < least or tie else best
    large = picture.resize((best[0] * size, best[1] * size))
    cut = [
        large.crop((x * size, y * size, (x + 1) * size, (y + 1) * size))
        for y in range(best[1])
        for x in range(best[0])
    ]
    cut += [picture.resize((size, size))] if len(cut) > 1 else []
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    values = torch.stack([torch.from_numpy(np.array(tile)) for tile in cut]) / 255
    return ((values - mean) / std).permute(0, 3, 1, 2)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (16, 16), (50, 50)])
def test_pictures_are_cut_as_the_remote_code_cuts_them(new: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    words: Any = AutoTokenizer.from_pretrained(new)
    kind: Any = AutoImageProcessor
    processor = Pictures(kind.from_pretrained(new, backend="pil"), words, image_seq_length=4)
    made = processor(images=[picture], text=["a <IMG_CONTEXT> b"], return_tensors="pt")
    expected = tiles(picture, 16, 12)
    assert made["pixel_values"].shape == expected.shape
    assert (made["pixel_values"] - expected).abs().max() < 1e-5
    ids = made["input_ids"][0].tolist()
    assert ids.count(CONTEXT) == 4 * len(expected)
    assert (ids.count(148), ids.count(149)) == (1, 1)  # <img> and </img>


def test_weights_are_written_as_files_fill(old: Path, tmp_path: Path, new: Path) -> None:
    converted = convert(str(old), tmp_path / "new", shard_bytes=20_000)
    files = sorted((tmp_path / "new").glob("*.safetensors"))
    assert len(files) > 3
    assert all(path.stat().st_size < 30_000 for path in files)
    assert all(path.stat().st_mode & 0o044 for path in files)  # others may read them
    whole = load_file(new / "model.safetensors")
    parts = {key: value for path in files for key, value in load_file(path).items()}
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[key], whole[key]) for key in whole)
    assert converted.tensors == len(whole)
    load_model(str(tmp_path / "new"), None)


def changed(old: Path, folder: Path, **changes: Any) -> str:
    """A copy with another config."""
    with new_folder(folder) as scratch:
        for path in old.iterdir():
            (scratch / path.name).write_bytes(path.read_bytes())
        config = json.loads((old / "config.json").read_text())
        for key, value in changes.items():
            part = config[key] if isinstance(value, dict) else config
            part.update(value if isinstance(value, dict) else {key: value})
        (scratch / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"llm_config": {"hidden_size": "wide"}}, "does not describe a LlamaConfig"),
        ({"vision_config": {"patch_size": "small"}}, "does not describe a InternVLVisionConfig"),
        ({"ps_version": "v1"}, "pixel shuffle must be version v2"),
        ({"llm_config": {"architectures": ["GptOssForCausalLM"]}}, "but is 'GptOssForCausalLM'"),
        ({"llm_config": {"rope_pos_id_version": "v2pe"}}, "V2PE"),
        ({"llm_config": {"quantization_config": {"quant_method": "awq"}}}, "quantization_config"),
        ({"vision_config": {"norm_type": "batch_norm"}}, "norm_type"),
        ({"vision_config": {"qk_normalization": True, "layer_norm_eps": 1e-5}}, "epsilon"),
        ({"llm_config": {"architectures": ["LlamaForCausalLM"]}}, "language_model.output.weight"),
        ({"llm_config": {"num_hidden_layers": 3}}, "fewer tensors"),
        (
            {"llm_config": {"num_hidden_layers": 1}},
            "tensors of further layers: 'language_model.model.layers.1",
        ),
        ({"llm_config": {"intermediate_size": 40}}, "on disk and"),
        ({"llm_config": {"tie_word_embeddings": True}}, "ties the head"),
    ],
)
def test_variants_that_do_not_map(
    old: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    source = changed(old, tmp_path / "old", **changes)
    with pytest.raises(UserError) as refused:
        convert(source, tmp_path / "new")
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]  # nothing half written


def test_an_unmerged_lora_is_named(old: Path, tmp_path: Path) -> None:
    source = Path(changed(old, tmp_path / "old"))
    tensors = load_file(source / "model.safetensors")
    name = "language_model.base_model.model.model.layers.0.attention.wo.lora_A.default.weight"
    save_file({**tensors, name: torch.zeros(2, 2)}, source / "model.safetensors")
    with pytest.raises(UserError, match="Merge the LoRA into the model first"):
        convert(str(source), tmp_path / "new")


def test_a_tokenizer_of_remote_code_alone(old: Path, tmp_path: Path) -> None:
    source = Path(changed(old, tmp_path / "old"))
    (source / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="--tokenizer FOLDER"):
        convert(str(source), tmp_path / "new")
    convert(str(source), tmp_path / "new", tokenizer=str(old))
    assert (tmp_path / "new" / "tokenizer.json").is_file()


def test_other_commands_name_the_command(old: Path) -> None:
    with pytest.raises(UserError) as refused:
        model_folder(str(old))
    assert "InternVLChatModel" in str(refused.value)
    assert f"mergetuna convert {old} OUT" in str(refused.value)
    assert "--allow-pickle" not in str(refused.value)


def test_a_pickled_one_needs_the_flag(tmp_path: Path) -> None:
    twin = build_twin(VARIANTS["qwen2"])
    source = str(save_twin(twin, tmp_path / "old", pickled=True))
    with pytest.raises(UserError, match=r"mergetuna convert .* --allow-pickle"):
        model_folder(source)
    with pytest.raises(UserError, match="Pass --allow-pickle"):
        convert(source, tmp_path / "new")
    convert(source, tmp_path / "new", allow_pickle=True)
    model: Any = load_model(str(tmp_path / "new"), None)
    ids, pixels = inputs(16)
    with torch.no_grad():
        assert (
            model(input_ids=ids, pixel_values=pixels).logits - twin(ids, pixels)
        ).abs().max() < 2e-6


def test_sizes_of_the_old_class_are_filled_in() -> None:
    """The old config classes have other defaults than transformers'."""
    config = old_config("InternLM2ForCausalLM", {})
    config["vision_config"] = {}
    made = translated(read_internvl(config, "x"), CONTEXT)
    tower, text = made["vision_config"], made["text_config"]
    assert (tower["hidden_size"], tower["num_hidden_layers"]) == (3200, 48)
    assert (tower["norm_type"], tower["use_qk_norm"]) == ("rms_norm", True)
    assert (text["vocab_size"], text["attention_bias"]) == (103168, True)
