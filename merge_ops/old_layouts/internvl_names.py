"""InternVL's tensors under transformers' names: renamed, and fused projections split."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

_TOWER = r"vision_model\.encoder\.layers\.(\d+)\."
_LAYER = r"vision_tower.encoder.layer.\1."

_RULES: Mapping[str, str] = {
    r"vision_model\.embeddings\.class_embedding": "vision_tower.embeddings.cls_token",
    r"vision_model\.embeddings\.position_embedding": "vision_tower.embeddings.position_embeddings",
    r"vision_model\.embeddings\.patch_embedding\.(weight|bias)": (
        r"vision_tower.embeddings.patch_embeddings.projection.\1"
    ),
    _TOWER + r"attn\.proj\.(weight|bias)": _LAYER + r"attention.projection_layer.\2",
    _TOWER + r"attn\.(q_norm|k_norm)\.weight": _LAYER + r"attention.\2.weight",
    _TOWER + r"norm1\.(weight|bias)": _LAYER + r"layernorm_before.\2",
    _TOWER + r"norm2\.(weight|bias)": _LAYER + r"layernorm_after.\2",
    _TOWER + r"ls([12])": _LAYER + r"lambda_\2",
    _TOWER + r"mlp\.(fc1|fc2)\.(weight|bias)": _LAYER + r"mlp.\2.\3",
    r"mlp1\.0\.(weight|bias)": r"multi_modal_projector.layer_norm.\1",
    r"mlp1\.1\.(weight|bias)": r"multi_modal_projector.linear_1.\1",
    r"mlp1\.3\.(weight|bias)": r"multi_modal_projector.linear_2.\1",
}
_TEXT = r"language_model\.model\.layers\.(\d+)\."
_TEXT_LAYER = r"language_model.model.layers.\1."
_INTERNLM2: Mapping[str, str] = {
    r"language_model\.model\.tok_embeddings\.weight": "language_model.model.embed_tokens.weight",
    r"language_model\.model\.norm\.weight": "language_model.model.norm.weight",
    r"language_model\.output\.weight": "language_model.lm_head.weight",
    _TEXT + r"attention\.wo\.(weight|bias)": _TEXT_LAYER + r"self_attn.o_proj.\2",
    _TEXT + r"feed_forward\.w1\.weight": _TEXT_LAYER + "mlp.gate_proj.weight",
    _TEXT + r"feed_forward\.w2\.weight": _TEXT_LAYER + "mlp.down_proj.weight",
    _TEXT + r"feed_forward\.w3\.weight": _TEXT_LAYER + "mlp.up_proj.weight",
    _TEXT + r"attention_norm\.weight": _TEXT_LAYER + "input_layernorm.weight",
    _TEXT + r"ffn_norm\.weight": _TEXT_LAYER + "post_attention_layernorm.weight",
}
_AS_IT_IS: Mapping[str, str] = {r"(language_model\.(?:model\..+|lm_head\.weight))": r"\1"}
_QKV = re.compile(_TOWER + r"attn\.qkv\.(weight|bias)")
_WQKV = re.compile(_TEXT + r"attention\.wqkv\.(weight|bias)")
_BUFFER = re.compile(r".*\.rotary_emb\.inv_freq")  # computed, not learned; old files hold it


@dataclass(frozen=True, slots=True)
class TextShape:
    """What splitting InternLM2's fused projection needs; None elsewhere.

    Attributes:
        heads: of the queries.
        key_value_heads: of the keys, and of the values.
    """

    heads: int
    key_value_heads: int


def new_names(name: str, internlm2: TextShape | None) -> list[str] | None:
    """Under which names a tensor goes on; none for a buffer, None if no rule knows it.

    Args:
        name: in the old layout.
        internlm2: if the language model is InternLM2.
    """
    if _BUFFER.fullmatch(name):
        return []
    for fused, to, on in ((_QKV, _LAYER, "attention"), (_WQKV, _TEXT_LAYER, "self_attn")):
        match = fused.fullmatch(name)
        if match and (fused is _QKV or internlm2 is not None):
            return [match.expand(rf"{to}{on}.{part}_proj.\2") for part in "qkv"]
    for pattern, new in {**_RULES, **(_INTERNLM2 if internlm2 else _AS_IT_IS)}.items():
        match = re.fullmatch(pattern, name)
        if match:
            return [match.expand(new)]
    return None


def renamed(
    tensor: Tensor, names: list[str], internlm2: TextShape | None
) -> Iterator[tuple[str, Tensor]]:
    """A tensor under its new names, split where it is fused."""
    if len(names) == 1:
        yield names[0], tensor
    elif internlm2 is not None and ".self_attn." in names[0]:
        yield from zip(names, _split_groups(tensor, internlm2), strict=True)
    else:
        yield from zip(names, tensor.chunk(3), strict=True)  # (3 H, ...): q, k, v as rows


def _split_groups(fused: Tensor, text: TextShape) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a projection that keeps them by group of key-value heads.

    Rows are (group, its queries' heads then its key then its value, head size), as InternLM2's
    `wqkv` orders them.
    """
    groups, share = text.key_value_heads, text.heads // text.key_value_heads
    size = fused.shape[0] // (text.heads + 2 * groups)
    rows = fused.reshape(groups, share + 2, size, *fused.shape[1:])  # (G, share + 2, D, ...)
    q, k, v = rows[:, :share], rows[:, share], rows[:, share + 1]
    flat = fused.shape[1:]
    return q.reshape(-1, *flat), k.reshape(-1, *flat), v.reshape(-1, *flat)
