"""Architectures: the zoo's models as ordinary transformers classes, made, loaded and saved."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from studies.demo.scenes import CELL_SIDE, SCENE_SIDE
from studies.demo.vocabulary import BOS, EOS, IMAGE, IMAGE_TOKENS, PAD, build_tokenizer, vocabulary

WIDTH = 64
LAYERS = 6
SHIPPED_DTYPE = torch.bfloat16


def language_config() -> LlamaConfig:
    """The decoder's configuration; 0.02, the usual initialiser range, is too small at width 64."""
    ids = vocabulary()
    return LlamaConfig(
        vocab_size=len(ids),
        hidden_size=WIDTH,
        intermediate_size=192,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        initializer_range=0.1,
        pad_token_id=ids[PAD],
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
    )


def vision_config() -> CLIPVisionConfig:
    """The vision tower's configuration: one patch a cell."""
    return CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SCENE_SIDE,
        patch_size=CELL_SIDE,
        projection_dim=WIDTH,
    )


def new_vlm() -> LlavaForConditionalGeneration:
    """A LLaVA model around the zoo's decoder and vision tower, with fresh weights."""
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=language_config(),
        image_token_index=vocabulary()[IMAGE],
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def new_reward_model(start: LlamaForCausalLM) -> LlamaForSequenceClassification:
    """A reward model with the decoder of `start` and a fresh score head."""
    config = language_config()
    config.num_labels = 1
    model = LlamaForSequenceClassification(config)  # type: ignore[no-untyped-call]
    model.model.load_state_dict(start.model.state_dict())
    nn.init.normal_(model.score.weight, std=0.02)
    return model


def load_text(folder: Path) -> LlamaForCausalLM:
    """A text model of the zoo, in float32."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def load_vlm(folder: Path) -> LlavaForConditionalGeneration:
    """A vision-language model of the zoo, in float32."""
    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def load_reward(folder: Path) -> LlamaForSequenceClassification:
    """The text reward model of the zoo, in float32."""
    return LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32)


def freeze(model: PreTrainedModel, *names: str) -> None:
    """Freezes every parameter whose name contains one of `names`."""
    for name, parameter in model.named_parameters():
        if any(part in name for part in names):
            parameter.requires_grad_(False)


def build_processor() -> LlavaProcessor:
    """The processor of the vision-language models; it needs no torchvision."""
    images = CLIPImageProcessorPil(
        do_resize=False,
        do_center_crop=False,
        do_convert_rgb=True,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        size={"height": SCENE_SIDE, "width": SCENE_SIDE},
        crop_size={"height": SCENE_SIDE, "width": SCENE_SIDE},
    )
    tokenizer = build_tokenizer()
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=CELL_SIDE,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def save(model: PreTrainedModel, folder: Path) -> None:
    """Saves a model in bfloat16 with its tokenizer, or with its processor if it sees."""
    ids = vocabulary()
    if not isinstance(model, LlamaForSequenceClassification):
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            bos_token_id=ids[BOS], eos_token_id=ids[EOS], pad_token_id=ids[PAD], max_new_tokens=8
        )
    nn.Module.to(model, SHIPPED_DTYPE)
    model.save_pretrained(folder)
    if isinstance(model, LlavaForConditionalGeneration):
        build_processor().save_pretrained(folder)
    else:
        build_tokenizer().save_pretrained(folder)
