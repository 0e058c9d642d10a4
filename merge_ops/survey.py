"""Which multimodal models of the installed transformers pair with a text model, by trying."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from merge_ops.decoder import find_decoder, pair_layers
from merge_ops.errors import UserError, first_line

_TRIED = 3
"""Text models that are tried for one multimodal model, by likeness of their names."""

TESTED = (
    "llava",
    "llava_next",
    "llava_next_video",
    "llava_onevision",
    "idefics2",
    "idefics3",
    "smolvlm",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "mllama",
    "internvl",
    "gemma3",
    "paligemma",
    "qwen2_audio",
    "qwen2_5_omni_thinker",
)
"""Model types whose grafts the tests verify with weights. No code depends on this list."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of pairing one multimodal model with a text model, both by their default configs.

    Attributes:
        kind: transformers' `model_type`.
        text: that of the text model; of the last one tried if none pairs; empty if there is none.
        partners: for each text layer, its partner among the model's layers.
        layers: how many layers the model's decoder has.
        backbone: whether the text model is only the text config's own decoder, without a head;
            that shows no more than that the decoder is found.
        reason: why it does not pair; empty if it does.
    """

    kind: str
    text: str = ""
    partners: tuple[int, ...] = ()
    layers: int = 0
    backbone: bool = False
    reason: str = ""

    @property
    def pairs(self) -> bool:
        """Whether every layer of the text model has a partner."""
        return not self.reason


def multimodal_kinds() -> list[str]:
    """Every multimodal model type of the installed transformers that writes text, sorted."""
    return sorted(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)


def survey(kind: str) -> Finding:
    """Pair one model with its own text model: of full size, on the meta device, so in no memory.

    Args:
        kind: one of `multimodal_kinds`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about default configs, which nobody runs
        try:
            config = CONFIG_MAPPING[kind]()
            named: Any = getattr(transformers, MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[kind])
            target = _empty(named, config)
        except Exception as error:
            return Finding(kind, reason=f"its default config does not build: {first_line(error)}")
        return _pair(kind, target, config.get_text_config(decoder=True))


def _pair(kind: str, target: nn.Module, text: Any) -> Finding:
    """The first text model that pairs, else why the likeliest does not.

    Where transformers has no text model with a head of that kind, the text config's own decoder
    is tried.
    """
    own = text.model_type
    tried = [(name, False) for name in _text_kinds(kind, own)]
    if own in MODEL_MAPPING_NAMES and own != kind:
        tried.append((own, True))
    first: Finding | None = None
    for name, backbone in tried:
        found = _try(kind, target, name, text, backbone=backbone)
        if found.pairs:
            return found
        first = first or found
    reason = f"transformers has no text model like its {text.model_type}"
    return first or Finding(kind, reason=reason)


def _try(kind: str, target: nn.Module, name: str, text: Any, *, backbone: bool) -> Finding:
    """Pair with one text model.

    It gets as many layers as the target has of its kind, if those are most of them: the others are
    then cross-attention. A few layers in common do not make it the target's own text model.
    """
    maker = transformers.AutoModel if backbone else transformers.AutoModelForCausalLM
    try:
        config = text if name == text.model_type else _retyped(text, name)
        into = find_decoder(target)
        out = find_decoder(_empty(maker, config))
        kinds = {out.signature(i) for i in range(len(out.layers))}
        same = sum(into.signature(i) in kinds for i in range(len(into.layers)))
        if len(out.layers) > same > len(into.layers) / 2:  # the others look at pictures
            config.num_hidden_layers = same
            out = find_decoder(_empty(maker, config))
        return Finding(kind, name, pair_layers(out, into), len(into.layers), backbone)
    except UserError as error:
        return Finding(kind, name, reason=str(error))
    except Exception as error:
        return Finding(kind, name, reason=f"its text model does not build: {first_line(error)}")


def _text_kinds(kind: str, own: str) -> list[str]:
    """Text models that may be a multimodal model's own, likeliest first.

    The type of its text config, or else those whose name lies in it: llama in mllama_text_model,
    qwen3_moe in qwen3_omni_moe_text.
    """
    causal, multimodal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    if own in causal and causal[own] != multimodal[kind]:
        return [own]
    others = [name for name in causal if name not in multimodal and name != own]
    alike = [name for name in others if all(part in own for part in name.split("_"))]
    return sorted(alike, key=lambda name: (-len(name), name))[:_TRIED]


def _retyped(text: Any, name: str) -> Any:
    """A config of another text model with all values that it shares with this one."""
    known = CONFIG_MAPPING[name]().to_dict()
    values = {k: v for k, v in text.to_dict().items() if k in known and k != "model_type"}
    return CONFIG_MAPPING[name](**values)


def _empty(kind: Any, config: Any) -> nn.Module:
    """A model without weights."""
    make = kind.from_config if hasattr(kind, "from_config") else kind._from_config
    with torch.device("meta"):
        model: nn.Module = make(config)
    return model
