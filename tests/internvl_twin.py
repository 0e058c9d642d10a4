"""InternVL's remote-code model in plain torch, tiny: its names, its arithmetic, its files.

Written from the published architecture (InternViT, pixel shuffle v2, `mlp1`, InternLM2's fused
`wqkv` by groups), not from transformers' port of it, so that equal logits mean something.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CONTEXT = 150
"""Id of <IMG_CONTEXT>."""

TEXT: Mapping[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 48,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
VISION: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
    "norm_type": "layer_norm",
    "qkv_bias": True,
    "qk_normalization": False,
    "layer_norm_eps": 1e-6,
    "drop_path_rate": 0.1,
    "use_flash_attn": True,
}
BIG_VISION: Mapping[str, Any] = {
    **VISION,
    "norm_type": "rms_norm",
    "qkv_bias": False,
    "qk_normalization": True,
}
"""As in the 6 B tower."""


def old_config(kind: str, text: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """`config.json` of the remote code; `kind` is the language model's class."""
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "vision_config": {"model_type": "intern_vit_6b", **VISION},
        "llm_config": {"architectures": [kind], "temperature": 1.0, "use_cache": False, **text},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 16,
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "torch_dtype": "float32",
        "use_thumbnail": True,
        **changes,
    }


class Rms(nn.Module):
    """RMS norm."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class VisionAttention(nn.Module):
    """Attention of InternViT with fused projections."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.qkv = nn.Linear(size, 3 * size, bias=config["qkv_bias"])
        self.proj = nn.Linear(size, size)
        if config["qk_normalization"]:
            self.q_norm = Rms(size, config["layer_norm_eps"])
            self.k_norm = Rms(size, config["layer_norm_eps"])

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)  # (B, N, H) each
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class VisionLayer(nn.Module):
    """One block of InternViT."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, eps = config["hidden_size"], config["layer_norm_eps"]
        norm = Rms if config["norm_type"] == "rms_norm" else nn.LayerNorm
        self.attn = VisionAttention(config)
        self.norm1, self.norm2 = norm(size, eps), norm(size, eps)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(size, config["intermediate_size"]),
                "fc2": nn.Linear(config["intermediate_size"], size),
            }
        )
        self.ls1, self.ls2 = nn.Parameter(torch.ones(size)), nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x)) * self.ls1
        hidden: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + hidden * self.ls2


class VisionTower(nn.Module):
    """InternViT; position embeddings are always interpolated to the picture."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, patch = config["hidden_size"], config["patch_size"]
        self.side = config["image_size"] // patch
        self.embeddings = nn.Module()
        self.embeddings.class_embedding = nn.Parameter(torch.randn(1, 1, size))
        self.embeddings.patch_embedding = nn.Conv2d(3, size, patch, patch)
        self.embeddings.position_embedding = nn.Parameter(torch.randn(1, self.side**2 + 1, size))
        self.encoder = nn.Module()
        layers = [VisionLayer(config) for _ in range(config["num_hidden_layers"])]
        self.encoder.layers = nn.ModuleList(layers)

    def forward(self, pixels: Tensor, select: int) -> Tensor:
        e: Any = self.embeddings
        patches = e.patch_embedding(pixels)  # (B, H, h, w)
        grid = e.position_embedding[:, 1:].reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=patches.shape[-2:], mode="bicubic", align_corners=False)
        places = torch.cat([e.position_embedding[:, :1], grid.flatten(2).transpose(1, 2)], 1)
        first = e.class_embedding.expand(len(pixels), 1, -1)
        states = [torch.cat([first, patches.flatten(2).transpose(1, 2)], 1) + places]
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            states.append(layer(states[-1]))
        chosen: Tensor = states[select]
        return chosen


class InternLM2Layer(nn.Module):
    """One block of InternLM2: queries, keys and values fused by group."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, inner, bias = config["hidden_size"], config["intermediate_size"], config["bias"]
        self.config = config
        head = size // config["num_attention_heads"]
        rows = (config["num_attention_heads"] + 2 * config["num_key_value_heads"]) * head
        self.attention = nn.ModuleDict(
            {"wqkv": nn.Linear(size, rows, bias=bias), "wo": nn.Linear(size, size, bias=bias)}
        )
        self.feed_forward = nn.ModuleDict(
            {
                "w1": nn.Linear(size, inner, bias=False),
                "w2": nn.Linear(inner, size, bias=False),
                "w3": nn.Linear(size, inner, bias=False),
            }
        )
        self.attention_norm = Rms(size, config["rms_norm_eps"])
        self.ffn_norm = Rms(size, config["rms_norm_eps"])

    def attend(self, x: Tensor) -> Tensor:
        """Causal attention, (B, N, H) to (B, N, H)."""
        groups = self.config["num_key_value_heads"]
        share = self.config["num_attention_heads"] // groups
        rows = self.attention["wqkv"](x).unflatten(
            -1, (groups, share + 2, -1)
        )  # (B, N, G, s+2, D)
        q = rows[..., :share, :].flatten(2, 3).transpose(1, 2)  # (B, heads, N, D)
        k, v = (rows[..., at, :].transpose(1, 2) for at in (-2, -1))  # (B, G, N, D)
        q, k = _rotated(q, self.config), _rotated(k, self.config)
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        return self.attention["wo"](mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.attention_norm(x))
        y, ff = self.ffn_norm(x), self.feed_forward
        hidden: Tensor = ff["w2"](F.silu(ff["w1"](y)) * ff["w3"](y))
        return x + hidden


def _rotated(x: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Rotary embeddings, with dynamic NTK scaling beyond the trained length."""
    length, size = x.shape[-2:]
    base, trained = config["rope_theta"], config["max_position_embeddings"]
    scaling = config.get("rope_scaling")
    if scaling and length > trained:
        factor = scaling["factor"]
        base = base * (factor * length / trained - (factor - 1)) ** (size / (size - 2))
    frequencies = 1.0 / base ** (torch.arange(0, size, 2).float() / size)
    angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)  # (N, D)
    left, right = x.chunk(2, -1)
    return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()


class InternLM2(nn.Module):
    """InternLM2 as a causal language model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.tok_embeddings = nn.Embedding(config["vocab_size"], config["hidden_size"])
        layers = [InternLM2Layer(config) for _ in range(config["num_hidden_layers"])]
        self.model.layers = nn.ModuleList(layers)
        self.model.norm = Rms(config["hidden_size"], config["rms_norm_eps"])
        self.output = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)

    def get_input_embeddings(self) -> Any:
        """As transformers' models have it."""
        return self.model.tok_embeddings

    def forward(self, inputs_embeds: Tensor) -> Tensor:
        x = inputs_embeds
        for layer in self.model.layers:  # type: ignore[union-attr]
            x = layer(x)
        return self.output(self.model.norm(x))  # type: ignore[no-any-return, operator]


class Twin(nn.Module):
    """The whole model under its old names."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        vision, text = config["vision_config"], config["llm_config"]
        self.config = config
        self.vision_model = VisionTower(vision)
        kind = text["architectures"][0]
        if kind == "InternLM2ForCausalLM":
            self.language_model: Any = InternLM2(text)
        else:
            settings = {k: v for k, v in text.items() if k not in ("architectures", "temperature")}
            if (settings.get("rope_scaling") or {}).get("type") == "su":  # today's name and place
                trained = settings["original_max_position_embeddings"]
                more = {"rope_type": "longrope", "original_max_position_embeddings": trained}
                factors = {k: v for k, v in settings["rope_scaling"].items() if k != "type"}
                settings["rope_scaling"] = {**factors, **more}
            config_class = getattr(hf, kind.replace("ForCausalLM", "Config"))
            self.language_model = getattr(hf, kind)(config_class(**settings))
        wide = 4 * vision["hidden_size"]
        size = text["hidden_size"]
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(wide), nn.Linear(wide, size), nn.GELU(), nn.Linear(size, size)
        )

    @torch.no_grad()
    def forward(self, input_ids: Tensor, pixels: Tensor) -> Tensor:
        x = self.vision_model(pixels, self.config["select_layer"])[:, 1:]  # (B, N, H)
        side = math.isqrt(x.shape[1])
        # pixel shuffle v2: each 2 x 2 block of patches becomes one, rows kept as rows
        x = x.reshape(len(x), side, side // 2, -1).permute(0, 2, 1, 3)
        x = x.reshape(len(x), side // 2, side // 2, -1).permute(0, 2, 1, 3)
        features = self.mlp1(x.reshape(-1, x.shape[-1]))
        embedded = self.language_model.get_input_embeddings()(input_ids).clone()
        embedded[input_ids == CONTEXT] = features
        if isinstance(self.language_model, InternLM2):
            return self.language_model(embedded)  # type: ignore[no-any-return]
        return self.language_model(inputs_embeds=embedded).logits  # type: ignore[no-any-return]


@torch.no_grad()
def build_twin(config: Mapping[str, Any], seed: int = 0) -> Twin:
    """A twin with random weights; norms and biases are random too."""
    torch.manual_seed(seed)
    twin = Twin(config)
    for parameter in twin.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    return twin.float().eval()


def save_twin(twin: Twin, folder: Path, *, pickled: bool = False) -> Path:
    """Write a twin as such models are published."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(twin.config))
    (folder / "modeling_internvl_chat.py").write_text("raise RuntimeError('remote code was run')")
    state = {name: tensor.contiguous() for name, tensor in twin.state_dict().items()}
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        state = {name: tensor.clone() for name, tensor in state.items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "generation_config.json").write_text('{"eos_token_id": [2]}')
    save_tokenizer(folder)
    return folder


def save_tokenizer(folder: Path) -> None:
    """Words of one letter, and InternVL's own tokens from id 148 on."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {chr(97 + n): 3 + n for n in range(26)}
    special = ["<img>", "</img>", "<IMG_CONTEXT>", "<|im_start|>", "<|im_end|>", "system"]
    words |= {word: 148 + n for n, word in enumerate(special)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(special[:5])
    made.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "unk_token": "<unk>",
        "eos_token": "</s>",
        "chat_template": "old",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
