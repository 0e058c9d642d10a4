"""InternVL's remote-code config in transformers' terms; what does not map exactly is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from merge_ops.errors import UserError
from merge_ops.old_layouts.internvl_names import TextShape

INTERNLM2_CLASS = "InternLM2ForCausalLM"
TEXT_TYPES: Mapping[str, str] = {
    INTERNLM2_CLASS: "llama",
    "LlamaForCausalLM": "llama",
    "Phi3ForCausalLM": "phi3",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""Language models whose arithmetic is that of a class of transformers, and its model type."""

_OLD_VISION: Mapping[str, Any] = {  # defaults of InternVisionConfig
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 48,
    "num_attention_heads": 25,
    "num_channels": 3,
    "patch_size": 14,
    "image_size": 224,
    "hidden_act": "gelu",
    "norm_type": "rms_norm",
    "layer_norm_eps": 1e-6,
    "qkv_bias": False,
    "qk_normalization": True,
    "initializer_range": 0.02,
}
_VISION_NAMES = {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"}
_OLD_INTERNLM2: Mapping[str, Any] = {  # defaults of InternLM2Config where Llama's differ
    "vocab_size": 103168,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_NORM_EPS = 1e-6  # of transformers' query and key norms, which take no setting


@dataclass(frozen=True, slots=True)
class InternVL:
    """What the old config says.

    Attributes:
        vision: of the tower, with the old class's defaults filled in.
        text: of the language model.
        whole: all of it.
    """

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    whole: Mapping[str, Any]

    @property
    def text_class(self) -> str:
        """The language model's class in the remote code."""
        return str((self.text.get("architectures") or [""])[0])

    @property
    def internlm2(self) -> TextShape | None:
        """How InternLM2's fused projections split; None for other language models."""
        return internlm2_shape(self.text) if self.text_class == INTERNLM2_CLASS else None

    @property
    def tied(self) -> bool:
        """Whether the head is the embeddings; no old language model ties them by default."""
        return bool(self.text.get("tie_word_embeddings", False))

    @property
    def image_size(self) -> int:
        """Pixels of one tile's side, as the remote code takes it."""
        return int(self.whole.get("force_image_size") or self.vision["image_size"])

    @property
    def image_tokens(self) -> int:
        """Tokens that stand for one tile."""
        side = self.image_size // int(self.vision["patch_size"])
        return int(side**2 * float(self.whole.get("downsample_ratio", 0.5)) ** 2)


def read_internvl(config: Mapping[str, Any], source: str) -> InternVL:
    """Check that an old config maps exactly.

    Raises:
        UserError: a variant that transformers' class does not compute; named.
    """
    found = InternVL(
        {**_OLD_VISION, **(config.get("vision_config") or {})},
        config.get("llm_config") or {},
        config,
    )
    for problem in _problems(found):
        raise UserError(f"{source}: {problem}")
    return found


def _problems(old: InternVL) -> list[str]:
    """What keeps a variant from being converted."""
    known = ", ".join(sorted(TEXT_TYPES))
    found = []
    packed = quantised(old.whole, old.text, old.vision)
    if packed:
        found.append(packed)
    if old.text_class not in TEXT_TYPES:
        found.append(f"the language model must be one of {known}, but is {old.text_class!r}.")
    if old.whole.get("ps_version", "v1") != "v2":
        found.append(
            "pixel shuffle must be version v2, but config.json says "
            f"{old.whole.get('ps_version', 'v1')!r}: its image tokens come in another order than "
            "transformers' model puts them (InternVL 1.1 and 1.2)."
        )
    stretched = odd_positions(old.text)
    if stretched:
        found.append(stretched)
    if old.vision["norm_type"] not in ("rms_norm", "layer_norm"):
        found.append(f"norm_type must be rms_norm or layer_norm, got {old.vision['norm_type']!r}.")
    if old.vision["qk_normalization"] and float(old.vision["layer_norm_eps"]) != _NORM_EPS:
        found.append(
            f"query and key norms have epsilon {_NORM_EPS} in transformers, but layer_norm_eps is "
            f"{old.vision['layer_norm_eps']}."
        )
    return found


def translated(old: InternVL, image_token_id: int) -> dict[str, Any]:
    """The config of transformers' InternVLForConditionalGeneration, as in config.json."""
    from transformers import InternVLConfig, InternVLVisionConfig

    vision = {_VISION_NAMES.get(key, key): value for key, value in old.vision.items()}
    dtype = old.whole.get("torch_dtype") or old.whole.get("dtype")
    config = InternVLConfig(
        vision_config=_made(
            InternVLVisionConfig,
            {k: v for k, v in vision.items() if k in _fields(InternVLVisionConfig)},
        ),
        text_config=text_config(old.text),
        image_token_id=image_token_id,
        image_seq_length=old.image_tokens,
        downsample_ratio=float(old.whole.get("downsample_ratio", 0.5)),
        vision_feature_layer=int(old.whole.get("select_layer", -1)),
        tie_word_embeddings=old.tied,
        architectures=["InternVLForConditionalGeneration"],
        **({"dtype": dtype} if dtype else {}),
    )
    content: dict[str, Any] = config.to_dict()
    return content


def text_config(old: Mapping[str, Any]) -> Any:
    """The config of a language model; its class is a key of `TEXT_TYPES`."""
    from transformers import CONFIG_MAPPING

    name = old["architectures"][0]
    kind = CONFIG_MAPPING[TEXT_TYPES[name]]
    text = dict(old)
    if name == INTERNLM2_CLASS:
        text = {**_OLD_INTERNLM2, **text, "attention_bias": bool(old.get("bias", True))}
    taken = {key: value for key, value in text.items() if key in _fields(kind)} | _rope(text)
    tied = bool(old.get("tie_word_embeddings", False))  # no old language model does by default
    return _made(kind, {**taken, "use_cache": True, "tie_word_embeddings": tied})


def _made(kind: Any, settings: Mapping[str, Any]) -> Any:
    """A config of a class; what it does not take is the user's to mend."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        return kind(**settings)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"config.json does not describe a {kind.__name__}: {reason}") from None


def internlm2_shape(text: Mapping[str, Any]) -> TextShape:
    """How InternLM2's fused projections split."""
    heads = int(text.get("num_attention_heads", 32))
    return TextShape(heads, int(text.get("num_key_value_heads") or heads))


def odd_positions(text: Mapping[str, Any]) -> str | None:
    """What is wrong with how InternLM2 counts positions."""
    version = text.get("rope_pos_id_version", "default")
    if version == "default":
        return None
    return (
        f"positions must count by one, but rope_pos_id_version is {version!r} (V2PE), which "
        "transformers does not have."
    )


def quantised(*parts: Mapping[str, Any]) -> str | None:
    """What is wrong with configs that say how weights are packed."""
    if not any(part.get("quantization_config") for part in parts):
        return None
    return (
        "weights must be floating point, but config.json has a quantization_config; convert the "
        "original checkpoint instead."
    )


def _rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary scaling under today's name; Phi3's was called `su`."""
    scaling = dict(text.get("rope_scaling") or {})
    if not scaling:
        return {}
    kind = scaling.pop("type", None) or scaling.get("rope_type")
    if kind in ("su", "longrope"):
        trained = text.get("original_max_position_embeddings")
        scaling |= {"original_max_position_embeddings": trained} if trained else {}
        kind = "longrope"
    return {"rope_scaling": {**scaling, "rope_type": kind}}


def _fields(kind: Any) -> set[str]:
    """Settings of one class of configs that are not settings of all; rope in its old keys too."""
    from transformers import PreTrainedConfig

    shared = {field.name for field in fields(PreTrainedConfig)}
    own = {field.name for field in fields(kind)} - shared
    return own | {"rope_theta", "rope_scaling"}
