"""InternLM2 by itself, the language model of some InternVL, as a Llama."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.old_layouts.internvl_config import odd_positions, quantised, text_config
from merge_ops.old_layouts.internvl_files import TOKENIZER_FILES, plain_tokenizer, write_json
from merge_ops.old_layouts.internvl_names import TextShape, new_names
from merge_ops.old_layouts.recognition import read_json

_PREFIX = "language_model."


def llama_names(name: str, shape: TextShape) -> list[str] | None:
    """Under which names a tensor of InternLM2 goes on, as `new_names` says it for InternVL's."""
    names = new_names(_PREFIX + name, shape)
    return None if names is None else [new.removeprefix(_PREFIX) for new in names]


def llama_config(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The config of transformers' LlamaForCausalLM, as in config.json.

    Raises:
        UserError: it does not map exactly.
    """
    for problem in (quantised(config), odd_positions(config)):
        if problem:
            raise UserError(f"{source}: {problem}")
    content: dict[str, Any] = text_config(config).to_dict()
    dtype = config.get("torch_dtype") or config.get("dtype")
    return {
        **content,
        "architectures": ["LlamaForCausalLM"],
        **({"dtype": dtype} if dtype else {}),
    }


def write_tokenizer(folder: Path, out: Path) -> list[str]:
    """Copy the tokenizer and generation settings; returns what the user should know."""
    if (folder / "generation_config.json").is_file():
        shutil.copyfile(folder / "generation_config.json", out / "generation_config.json")
    config = read_json(folder / "tokenizer_config.json")
    if config.get("auto_map") and not (folder / "tokenizer.json").is_file():
        return [
            "its tokenizer is remote code without a tokenizer.json and is left out: a merge takes "
            "the target's; to run the model by itself, pass --tokenizer"
        ]
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    write_json(out / "tokenizer_config.json", plain_tokenizer(config))
    return []
