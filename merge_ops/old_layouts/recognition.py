"""Which old layout a folder is in, told by its files and its config alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERNVL = "internvl"
INTERNLM2 = "internlm2"
MODELCOMPOSE = "modelcompose"
PICKLES = "pickles"
ADAPTER_PICKLE = "adapter pickle"

ADAPTER = "adapter_model.bin"
ADAPTER_CONFIG = "adapter_config.json"
PROJECTOR = "mm_projector.bin"
TRAINABLES = "non_lora_trainables.bin"


@dataclass(frozen=True, slots=True)
class OldLayout:
    """What a folder holds instead of a model that transformers reads.

    Attributes:
        kind: INTERNVL, INTERNLM2, MODELCOMPOSE, PICKLES or ADAPTER_PICKLE.
        name: for a sentence: "is {name}".
        pickled: whether its weights are pickles.
    """

    kind: str
    name: str
    pickled: bool

    def command(self, source: str) -> str:
        """The command that rewrites it."""
        return f"mergetuna convert {source} OUT{' --allow-pickle' if self.pickled else ''}"


def old_layout(folder: Path) -> OldLayout | None:
    """The old layout of a folder, or None if it is in none that is known."""
    config = read_json(folder / "config.json")
    pickled = not any(folder.glob("*.safetensors"))
    named = config.get("architectures")
    for kind, made in ((INTERNVL, "InternVLChatModel"), (INTERNLM2, "InternLM2ForCausalLM")):
        if isinstance(named, list) and made in named:
            return OldLayout(kind, f"a model of remote code ({made})", pickled)
    if (folder / ADAPTER).is_file() and (folder / ADAPTER_CONFIG).is_file() and pickled:
        return OldLayout(ADAPTER_PICKLE, f"a LoRA adapter as a pickle ({ADAPTER})", True)
    if config.get("model_type") == "multimodal" or config.get("lora_strategy"):
        return OldLayout(MODELCOMPOSE, "ModelCompose's adapter layout", True)
    found = pickle_files(folder)
    if pickled and found:
        listed = f"{', '.join(p.name for p in found[:3])}{' ...' if found[3:] else ''}"
        return OldLayout(PICKLES, f"a model whose weights are pickles ({listed})", True)
    return None


def pickle_files(folder: Path) -> list[Path]:
    """The weight files of a model that are pickles, sorted."""
    return sorted(folder.glob("pytorch_model*.bin"))


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; empty if it is not there, cannot be read or holds no mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
