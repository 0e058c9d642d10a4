"""What two language models may differ in although all their shapes agree."""

from collections.abc import Mapping
from typing import Any

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "norm epsilon": ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    "activation": ("hidden_activation", "hidden_act", "activation_function"),
    "attention heads": ("num_attention_heads", "n_head"),
    "key and value heads": ("num_key_value_heads",),
    "head dimension": ("head_dim",),
    "attention scale": ("query_pre_attn_scalar", "attention_multiplier"),
    "attention softcap": ("attn_logit_softcapping",),
    "logit softcap": ("final_logit_softcapping",),
    "attention in both directions": ("use_bidirectional_attention",),
}
"""What decides the computation, by the keys under which configs have it; the first found holds."""

_ROPE = "rope_parameters"
_PLACES = ("mrope_section", "mrope_interleaved")
"""How rotary positions of pictures are laid out; on text they change nothing."""

_IDLE = ("architectures", "dtype", "model_type", "name_or_path", "transformers_version")
_IDLE_PARTS = ("dropout", "initializer", "_attn_", "return_dict", "output_", "label", "gradient")
"""Keys of a tower's config that say nothing of what it computes once it is trained."""


def config_differences(target: Any, expert: Any) -> list[str]:
    """What a target's language model computes otherwise than an expert's, in words.

    Shapes do not show it: the expert's weights would run with the target's rotary embeddings,
    norms and activations.

    Args:
        target: config of the model that is written.
        expert: config of the model whose weights it takes.

    Returns:
        One line for each difference, such as "norm epsilon is 1e-05 in the target and 1e-06 in
        the expert".
    """
    ours, theirs = (config.get_text_config(decoder=True) for config in (target, expert))
    values, others = _facts(ours), _facts(theirs)
    return [
        f"{what} is {_word(values.get(what))} in the target "
        f"and {_word(others.get(what))} in the expert"
        for what in dict.fromkeys([*values, *others])
        if values.get(what) != others.get(what)
    ]


def tower_differences(tower: str, target: Any, expert: Any) -> list[str]:
    """What a tower of the target computes otherwise than an expert's of equal shapes, in words.

    Args:
        tower: its name, for the words.
        target: the module in the target; a module without a config differs in nothing.
        expert: the module in the expert.

    Returns:
        One line for each key that both configs have and that differs, such as "visual: window_size
        is 112 in the target and 64 in the expert".
    """
    ours, theirs = (_plain(getattr(module, "config", None)) for module in (target, expert))
    return [
        f"{tower}: {key} is {_word(value)} in the target and {_word(theirs[key])} in the expert"
        for key, value in ours.items()
        if key in theirs and value != theirs[key]
    ]


def _plain(config: Any) -> dict[str, object]:
    """A tower's config as a mapping, without what decides nothing."""
    content: dict[str, object] = config.to_dict() if hasattr(config, "to_dict") else {}
    return {
        key: value
        for key, value in content.items()
        if key.strip("_") not in _IDLE and not any(part in key for part in _IDLE_PARTS)
    }


def _facts(config: Any) -> dict[str, object]:
    """What decides what a language model computes, by what it is in words."""
    found = {what: _value(config, keys) for what, keys in _FIELDS.items()}
    found["head dimension"] = found["head dimension"] or _head_dimension(config)
    found["sliding window"] = _window(config)
    found["vocabulary"] = getattr(config, "vocab_size", None)
    return found | {f"rotary {key}": value for key, value in _rope(config).items()}


def _value(config: Any, keys: tuple[str, ...]) -> object:
    """The first of these keys that the config has."""
    return next((v for key in keys if (v := getattr(config, key, None)) is not None), None)


def _head_dimension(config: Any) -> int | None:
    """What a config means by leaving it out."""
    width, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", 0)
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None


def _window(config: Any) -> object:
    """The sliding window, if any layer has one."""
    kinds = getattr(config, "layer_types", None)
    slides = getattr(config, "use_sliding_window", True)
    if not slides or (kinds and "sliding_attention" not in kinds):
        return None
    return getattr(config, "sliding_window", None)


def _rope(config: Any) -> dict[str, object]:
    """Rotary parameters that matter to text, flat: "theta", "type", "factor" ..."""
    stated = getattr(config, _ROPE, None) or {}
    found: dict[str, object] = {}
    for key, value in stated.items():
        if isinstance(value, Mapping):  # one set for each type of layer
            found |= {f"{name} ({key})": v for name, v in _rope_set(value).items()}
    return found or _rope_set(stated)


def _rope_set(stated: Mapping[str, Any]) -> dict[str, object]:
    kept = {key.removeprefix("rope_"): v for key, v in stated.items() if key not in _PLACES}
    if kept.get("type") in (None, "mrope"):
        kept["type"] = "default"
    return kept


def _word(value: object) -> str:
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value)
