"""LoRA adapters for tests, written as PEFT writes them, without PEFT."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

PREFIX = "base_model.model."


def factors_for(
    model: nn.Module, *endings: str, rank: int = 2, seed: int = 0, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Random factors, under PEFT's keys, of every linear layer whose name ends like one of these.

    Args:
        model: gives names and shapes.
        endings: of the modules' names.
        rank: of all factors.
        seed: of the values.
        dtype: in which they are stored, float32 if left out.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(endings):
            shapes = {"A": (rank, module.in_features), "B": (module.out_features, rank)}
            for part, shape in shapes.items():
                values = 0.1 * torch.randn(shape, generator=generator)
                found[f"{PREFIX}{name}.lora_{part}.weight"] = values.to(dtype or torch.float32)
    return found


def save_adapter(folder: Path, tensors: Mapping[str, Tensor], **settings: Any) -> str:
    """Write an adapter's folder; `settings` go into its config, of rank 2 and alpha 6."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))
    save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return str(folder)


def renamed(tensors: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """The same factors under names that begin otherwise."""
    return {k.replace(f"{PREFIX}{old}", f"{PREFIX}{new}", 1): v for k, v in tensors.items()}
