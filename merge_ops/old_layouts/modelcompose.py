"""ModelCompose's adapter files as LoRA adapters in peft's layout.

Its `adapter_model.bin` holds the LoRA of every modality (`...q_proj.lora_A.vision.weight`; that of
the text is called `default`) beside projectors and whatever else was trained.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from merge_ops.errors import UserError
from merge_ops.old_layouts.recognition import ADAPTER_CONFIG

ADAPTER_FILE = "adapter_model.safetensors"
REST_FILE = "not_lora.safetensors"
"""What was trained beside the adapters, under its own names: projectors, prefix tokens, norms."""

_LORA = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.([^.]+)\.weight")
_RANK, _ALPHA = 128, 256  # defaults of its config class


def write_adapters(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: str, out: Path
) -> list[str]:
    """Write one folder per adapter, or one alone into `out`; returns what was written.

    Raises:
        UserError: there is no adapter, one is not whole, or its scale is not alpha / rank.
    """
    _check(config, source)
    adapters: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _LORA.fullmatch(name)
        if match is None:
            rest[name.removeprefix("base_model.model.")] = tensor.clone()
        else:
            key = f"base_model.model.{match[1]}.lora_{match[2]}.weight"
            adapters.setdefault(match[3], {})[key] = tensor.clone()
    if not adapters:
        raise UserError(
            f"{source}: its files must hold LoRA tensors (lora_A.NAME.weight), but hold "
            f"{', '.join(sorted(rest)[:3])} ..."
        )
    said = []
    for name, found in sorted(adapters.items()):
        folder = out if len(adapters) == 1 else out / name
        settings = _settings(name, found, config, source)
        folder.mkdir(exist_ok=True)
        text = json.dumps(settings, indent=2, sort_keys=True)
        (folder / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")
        save_file(found, folder / ADAPTER_FILE, metadata={"format": "pt"})
        place = "." if folder == out else folder.name
        said.append(
            f"adapter {name!r} in {place}: {len(found) // 2} layers of rank {settings['r']}"
        )
    if rest:
        save_file(rest, out / REST_FILE, metadata={"format": "pt"})
        said.append(
            f"the rest ({len(rest)} tensors: projectors ...) in {REST_FILE}; not for merging"
        )
    return said


def _check(config: Mapping[str, Any], source: str) -> None:
    for key in ("reset_scaling_weights", "merge_default_weights"):
        if config.get(key) is not None:
            raise UserError(
                f"{source}: it must be one trained adapter, but config.json has {key} "
                f"({config[key]!r}): it is a composition of several, scaled as it runs. "
                "Convert the adapters that it was made of."
            )


def _settings(
    name: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """`adapter_config.json` of one adapter."""
    rank = int(config.get(f"{name}_lora_r", config.get("lora_r", _RANK)))
    alpha = config.get(f"{name}_lora_alpha", config.get("lora_alpha", _ALPHA))
    layers = {key.rsplit(".lora_", 1)[0] for key in tensors}
    for layer in sorted(layers):
        both = [tensors.get(f"{layer}.lora_{side}.weight") for side in "AB"]
        ranks = [None if t is None else t.shape[axis] for axis, t in enumerate(both)]
        if ranks != [rank, rank]:
            raise UserError(
                f"{source}: adapter {name!r} must have lora_A and lora_B of rank {rank} "
                f"(config.json) for {layer.removeprefix('base_model.model.')}, but has {ranks}."
            )
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.get("_name_or_path"),
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": config.get("lora_dropout", 0.0),
        "target_modules": sorted({layer.rsplit(".", 1)[1] for layer in layers}),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
