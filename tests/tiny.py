"""Tiny models made from configs, and the devices that tests run on."""

import pytest
import torch
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
