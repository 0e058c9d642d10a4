"""Tiny models of every tested family, random and made from configs, each with its text model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import nn
from transformers import PreTrainedConfig

IMAGE, VIDEO, AUDIO = 150, 151, 152
"""Ids that stand for images, videos and sounds."""

TEXT: Mapping[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
_TOWER: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
_NO_POOLING: Mapping[str, Any] = {"vision_use_head": False}
_QWEN_TOWER: Mapping[str, Any] = {
    "depth": 2,
    "hidden_size": 16,
    "out_hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 32,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_WINDOWS: Mapping[str, Any] = {"fullatt_block_indexes": [1], "window_size": 16}
_SOUND: Mapping[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "num_mel_bins": 8,
    "max_source_positions": 20,
}
_QWEN_IDS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": 148,
    "vision_end_token_id": 149,
}
_GRID: Mapping[str, Any] = {"image_grid_pinpoints": [[16, 32], [32, 16], [32, 32]]}


@dataclass(frozen=True, slots=True)
class Family:
    """A multimodal model and the text model whose language part is its own.

    Attributes:
        config: of the multimodal model.
        text: of the text model.
        model: the multimodal class.
    """

    config: PreTrainedConfig
    text: PreTrainedConfig
    model: type[Any]


def _rope(**more: object) -> dict[str, Any]:
    """`TEXT` with rope parameters spelled out."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0, **more}
    return {**TEXT, "rope_parameters": rope}


def _llava(kind: str, text: type[Any], tower: PreTrainedConfig, **more: object) -> Family:
    config = getattr(hf, f"{kind}Config")(
        vision_config=tower,
        text_config=text(**TEXT),
        image_token_index=IMAGE,
        tie_word_embeddings=False,
        **more,
    )
    return Family(config, text(**TEXT), getattr(hf, f"{kind}ForConditionalGeneration"))


def _idefics(kind: str, text: type[Any], **more: object) -> Family:
    config = getattr(hf, f"{kind}Config")(
        vision_config=dict(_TOWER),
        text_config=text(**TEXT),
        image_token_id=IMAGE,
        tie_word_embeddings=False,
        **more,
    )
    return Family(config, text(**TEXT), getattr(hf, f"{kind}ForConditionalGeneration"))


def _qwen(kind: str, text: type[Any], tower: Mapping[str, Any], **more: object) -> Family:
    config = getattr(hf, f"{kind}Config")(
        text_config={**_rope(mrope_section=[1, 1, 2]), **more},
        vision_config=dict(tower),
        tie_word_embeddings=False,
        **_QWEN_IDS,
    )
    return Family(config, text(**TEXT, **more), getattr(hf, f"{kind}ForConditionalGeneration"))


def _clip() -> PreTrainedConfig:
    return hf.CLIPVisionConfig(**_TOWER, projection_dim=16)


def _siglip(**more: Any) -> PreTrainedConfig:
    return hf.SiglipVisionConfig(**_TOWER, **more)


def _idefics2() -> Family:
    perceiver: dict[str, Any] = {
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 2,
        "num_key_value_heads": 1,
        "resampler_head_dim": 8,
        "hidden_size": 32,
    }
    return _idefics("Idefics2", hf.MistralConfig, perceiver_config=perceiver)


def _llava_onevision() -> Family:
    full = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    more = {"video_token_index": VIDEO, **_GRID, **full}
    return _llava("LlavaOnevision", hf.Qwen2Config, _siglip(), **more)


def _qwen2_vl() -> Family:
    tower = {**_QWEN_TOWER, "embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    for key in ("out_hidden_size", "intermediate_size"):
        tower.pop(key)
    return _qwen("Qwen2VL", hf.Qwen2Config, tower)


def _qwen3_vl() -> Family:
    more = {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    return _qwen("Qwen3VL", hf.Qwen3Config, {**_QWEN_TOWER, **more}, head_dim=8)


def _mllama() -> Family:
    """Text layers 0 to 3 are its layers 0, 2, 3 and 5; 1 and 4 look at pictures."""
    tower: dict[str, Any] = {
        key: value for key, value in _TOWER.items() if key != "num_attention_heads"
    }
    tower |= {
        "num_global_layers": 1,
        "attention_heads": 2,
        "intermediate_layers_indices": [0, 1],
        "vision_output_dim": 48,
        "max_num_tiles": 2,
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
    }
    text = {**_rope(), "num_hidden_layers": 6, "cross_attention_layers": [1, 4]}
    config = hf.MllamaConfig(text_config=text, vision_config=tower, image_token_index=160)
    return Family(config, hf.LlamaConfig(**TEXT), hf.MllamaForConditionalGeneration)


def _internvl() -> Family:
    tower = {**_TOWER, "image_size": [16, 16], "patch_size": [4, 4]}
    config = hf.InternVLConfig(
        vision_config=tower,
        text_config=hf.Qwen2Config(**TEXT),
        image_token_id=IMAGE,
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    return Family(config, hf.Qwen2Config(**TEXT), hf.InternVLForConditionalGeneration)


def _gemma3() -> Family:
    kinds = ["sliding_attention", "full_attention"] * 2
    text = {**TEXT, "head_dim": 8, "sliding_window": 8, "layer_types": kinds}
    config = hf.Gemma3Config(
        text_config=text,
        vision_config=_siglip(**_NO_POOLING),
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
        tie_word_embeddings=False,
    )
    return Family(config, hf.Gemma3TextConfig(**text), hf.Gemma3ForConditionalGeneration)


def _paligemma(text: type[Any], **more: Any) -> Family:
    config = hf.PaliGemmaConfig(
        vision_config=_siglip(**_NO_POOLING),
        text_config=text(**TEXT, head_dim=8, **more),
        image_token_index=IMAGE,
        projection_dim=32,
        hidden_size=32,
        tie_word_embeddings=False,
    )
    donor = text(**TEXT, head_dim=8, **more)
    return Family(config, donor, hf.PaliGemmaForConditionalGeneration)


def _qwen2_audio() -> Family:
    config = hf.Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", **_SOUND},
        text_config=hf.Qwen2Config(**TEXT),
        audio_token_index=AUDIO,
    )
    return Family(config, hf.Qwen2Config(**TEXT), hf.Qwen2AudioForConditionalGeneration)


def _omni_thinker() -> Family:
    kinds: Any = hf
    config = kinds.Qwen2_5OmniThinkerConfig(
        text_config=_rope(mrope_section=[1, 1, 2]),
        vision_config={**_QWEN_TOWER, **_WINDOWS},
        audio_config={**_SOUND, "n_window": 10, "output_dim": 32},
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        audio_token_index=AUDIO,
        audio_start_token_id=146,
        audio_end_token_id=147,
        vision_start_token_id=148,
        tie_word_embeddings=False,
    )
    kind = hf.Qwen2_5OmniThinkerForConditionalGeneration
    return Family(config, hf.Qwen2Config(**TEXT), kind)


FAMILIES: Mapping[str, Callable[[], Family]] = {
    "llava": lambda: _llava("Llava", hf.LlamaConfig, _clip(), image_seq_length=16),
    "llava_next": lambda: _llava("LlavaNext", hf.MistralConfig, _clip(), **_GRID),
    "llava_next_video": lambda: _llava(
        "LlavaNextVideo", hf.LlamaConfig, _clip(), video_token_index=VIDEO, **_GRID
    ),
    "llava_onevision": _llava_onevision,
    "idefics2": _idefics2,
    "idefics3": lambda: _idefics("Idefics3", hf.LlamaConfig, scale_factor=2),
    "smolvlm": lambda: _idefics("SmolVLM", hf.LlamaConfig, scale_factor=2),
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": lambda: _qwen("Qwen2_5_VL", hf.Qwen2Config, {**_QWEN_TOWER, **_WINDOWS}),
    "qwen3_vl": _qwen3_vl,
    "mllama": _mllama,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "paligemma": lambda: _paligemma(hf.GemmaConfig),
    "paligemma2": lambda: _paligemma(hf.Gemma2Config, sliding_window=8),
    "qwen2_audio": _qwen2_audio,
    "qwen2_5_omni_thinker": _omni_thinker,
}
"""By name; each call makes new configs."""


def build(family: Family, seed: int = 0) -> Any:
    """The multimodal model with random weights; norms and biases are random too."""
    return _random(family.model, family.config, seed)


def build_text(config: PreTrainedConfig, seed: int = 1) -> Any:
    """The text model with random weights."""
    return _random(hf.AutoModelForCausalLM, config, seed)


def empty(family: Family) -> tuple[nn.Module, nn.Module]:
    """Both models without weights, on the meta device."""
    causal: Any = hf.AutoModelForCausalLM
    with torch.device("meta"):
        return family.model._from_config(family.config), causal.from_config(family.text)


@torch.no_grad()
def _random(kind: type[Any], config: PreTrainedConfig, seed: int) -> Any:
    torch.manual_seed(seed)
    made = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    for parameter in made.parameters():  # so that nothing is equal by accident
        if parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return made.float().eval()
