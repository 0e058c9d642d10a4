"""Random text models of any size on disk: a base, and experts beside it."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

_LAYERS = 24
_PER_HIDDEN = 18.6  # parameters of a layer, over the square of the hidden size


def write_models(folder: Path, parameters: int, experts: int, dtype: str) -> list[Path]:
    """Write a base and experts, shaped like Qwen2 with a vocabulary of a few words.

    Args:
        folder: where.
        parameters: about how many each has.
        experts: how many there are beside the base.
        dtype: of the weights, such as "bfloat16".

    Returns:
        Their folders, the base first. Experts differ from it by normal noise, a fortieth of the
        weights' own deviation.
    """
    config = _config(parameters, dtype)
    with torch.device("meta"):
        empty = Qwen2ForCausalLM(config)
    shapes = {name: p.shape for name, p in empty.named_parameters()}
    kind = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    base = {n: torch.randn(s, generator=generator) * 0.02 for n, s in shapes.items()}
    folders = []
    for i in range(experts + 1):
        model = base
        if i:
            model = {
                n: t + torch.randn(t.shape, generator=generator) * 0.0005 for n, t in base.items()
            }
        path = folder / ("base" if i == 0 else f"expert{i}")
        path.mkdir()
        save_file({n: t.to(kind) for n, t in model.items()}, path / "model.safetensors")
        content = config.to_dict() | {"architectures": ["Qwen2ForCausalLM"]}
        (path / "config.json").write_text(json.dumps(content))
        folders.append(path)
    return folders


def _config(parameters: int, dtype: str) -> Qwen2Config:
    """24 layers, as wide as the number of parameters asks for."""
    hidden = max(64, round(math.sqrt(parameters / _LAYERS / _PER_HIDDEN) / 64) * 64)
    return Qwen2Config(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=round(hidden * 4864 / 896 / 64) * 64,
        num_hidden_layers=_LAYERS,
        num_attention_heads=hidden // 64,
        num_key_value_heads=1 if (hidden // 64) % 2 else 2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        dtype=dtype,
    )
