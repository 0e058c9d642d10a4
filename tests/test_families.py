"""Text models inside vision-language models: which tensors pair, and that grafts are exact."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    CLIPVisionConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MllamaConfig,
    MllamaForConditionalGeneration,
)
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

from merge_ops.decoder import find_decoder, pair_layers
from merge_ops.errors import UserError
from merge_ops.loading import load_model
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.residency import load_resident
from merge_ops.runtime import Runtime
from merge_ops.tensors import share
from tests.tiny import tiny_llama


def text_config() -> LlamaConfig:
    config: LlamaConfig = tiny_llama(0).config
    return config


def tiny_llava() -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
    )
    torch.manual_seed(9)
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text_config(), image_token_index=31)
    )


def tiny_mllama() -> MllamaForConditionalGeneration:
    text = MllamaTextConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=5,
        num_attention_heads=2,
        num_key_value_heads=1,
        cross_attention_layers=[1, 3],
        pad_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    vision = MllamaVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_global_layers=1,
        attention_heads=2,
        image_size=8,
        patch_size=4,
        intermediate_layers_indices=[0],
        vision_output_dim=32,
        supported_aspect_ratios=[[1, 1]],
    )
    return MllamaForConditionalGeneration(MllamaConfig(vision_config=vision, text_config=text))


@torch.no_grad()
def graft(donor: nn.Module, target: nn.Module) -> None:
    """Put all shared tensors of the donor into the target."""
    shared = share([target, donor])
    into = dict(target.named_parameters(remove_duplicate=False))
    from_ = dict(donor.named_parameters(remove_duplicate=False))
    for tensor in shared.tensors:
        into[shared.names[0][tensor.name]].copy_(from_[shared.names[1][tensor.name]])


def test_a_grafted_vlm_gives_the_donors_logits_on_text() -> None:
    donor, target = tiny_llama(1), tiny_llava()
    graft(donor, target)
    tokens = torch.arange(1, 12)[None]
    with torch.no_grad():
        difference = donor(tokens).logits - target(input_ids=tokens).logits
    assert difference.abs().max() <= 1e-6


def test_canonical_names_are_the_text_models_own() -> None:
    donor = tiny_llama(1)
    shared = share([tiny_llava(), donor])
    assert {t.name for t in shared.tensors} == {n for n, _ in donor.named_parameters()}
    assert all("vision" not in t.name for t in shared.tensors)
    parts = {t.name: t.part for t in shared.tensors}
    assert parts["model.embed_tokens.weight"] == parts["lm_head.weight"] == "embeddings"
    assert parts["model.norm.weight"] == "decoder"


def test_cross_attention_layers_are_passed_over() -> None:
    text, vlm = find_decoder(tiny_llama(1)), find_decoder(tiny_mllama())
    assert pair_layers(text, vlm) == (0, 2, 4)
    shared = share([tiny_mllama(), tiny_llama(1)])
    assert shared.layers == 3
    names = dict(zip(("target", "text"), shared.names, strict=True))
    name = "model.layers.1.mlp.up_proj.weight"
    assert names["target"][name].endswith("layers.2.mlp.up_proj.weight")
    assert "model.embed_tokens.weight" in shared.misfits  # Mllama's has eight rows more


def test_input_embeddings_have_one_name_whatever_the_model_calls_them() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2))
    shared = share([model, model])
    assert shared.names[0]["model.embed_tokens.weight"] == "transformer.wte.weight"
    assert [t.part for t in shared.tensors if "embed" in t.name] == ["embeddings"]
    assert "lm_head.weight" not in {t.name for t in shared.tensors}  # tied: it stands once


def test_a_reward_model_shares_the_decoder_but_no_head() -> None:
    config = text_config()
    config.num_labels = 1
    kind: type[Any] = LlamaForSequenceClassification
    reward = kind(config)
    shared = share([tiny_llava(), tiny_llama(1), reward])
    names = {t.name for t in shared.tensors}
    assert "lm_head.weight" not in names
    assert "score.weight" not in names
    assert "model.layers.2.mlp.down_proj.weight" in names


def test_models_of_one_class_share_tower_and_projector_too() -> None:
    shared = share([tiny_llava(), tiny_llava()])
    parts = {t.part for t in shared.tensors}
    assert parts == {"tower", "projector", "embeddings", "decoder"}
    parameters = dict(tiny_llava().named_parameters())
    assert len(shared.tensors) == len(parameters)
    assert any(t.name == "model.layers.0.mlp.up_proj.weight" for t in shared.tensors)


def test_layers_of_other_shapes_are_refused_with_both_shapes() -> None:
    with pytest.raises(UserError, match=r"mlp\.\w+\.weight is \(24, 16\) against \(24, 32\)"):
        share([tiny_llava(), tiny_llama(1, width=32)])


def test_tensors_beside_the_language_model_go_by_their_names_on_disk(demo_folder: Path) -> None:
    vlm, skill = (str(demo_folder / "models" / name) for name in ("vlm", "skill_sums"))
    weight = {"weight": (Entry("multi_modal_projector.", 0.0), Entry(None, 1.0))}
    recipe = Recipe("task_arithmetic", (Source(skill, weight),), vlm, dtype="float32")
    resident = load_resident(recipe, Runtime())
    with safe_open(f"{vlm}/model.safetensors", "pt") as file:
        disk = {key for key in file.keys() if "language_model" not in key}  # noqa: SIM118
    names = set(resident.merged_names)
    assert {n for n in names if not n.startswith(("model.", "lm_head."))} == disk
    assert "model.layers.0.mlp.up_proj.weight" in names
    resident.become(recipe)
    base, expert = (load_model(path, "float32").state_dict() for path in (vlm, skill))
    for name, value in resident.module.state_dict().items():
        source = base[name] if "projector" in name else expert[name]
        torch.testing.assert_close(value, source, rtol=0, atol=1e-6)
