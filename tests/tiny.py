"""Tiny models made from configs, and the devices that tests run on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]


def tiny_llama(
    seed: int, *, layers: int = 3, width: int = 16, tied: bool = False
) -> LlamaForCausalLM:
    """A random text model of a few thousand parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def save(model: Any, folder: Path | str, tokens: Mapping[int, str] | None = None) -> None:
    """Write a model and a tokenizer, whose tokens are its ids but for `tokens`."""
    model.save_pretrained(folder)
    size = model.config.get_text_config(decoder=True).vocab_size
    write_tokenizer(Path(folder), {i: f"t{i}" for i in range(size)} | dict(tokens or {}))


def write_tokenizer(folder: Path, tokens: Mapping[int, str]) -> None:
    """Write tokenizer.json with these tokens."""
    words = WordLevel({token: i for i, token in tokens.items()}, unk_token=tokens[0])
    Tokenizer(words).save(str(folder / "tokenizer.json"))
