"""Tokenizer, processor, chat template and generation settings of a converted InternVL."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.old_layouts.internvl_chat import CHATS, chat_template
from merge_ops.old_layouts.internvl_config import InternVL
from merge_ops.old_layouts.recognition import read_json

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's, fixed in the remote code


def token_id(folder: Path, token: str) -> int | None:
    """The id of a token that a tokenizer's files add, or None."""
    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    ids = {entry.get("content"): int(key) for key, entry in added.items()}
    ids |= read_json(folder / "added_tokens.json")
    listed = read_json(folder / "tokenizer.json").get("added_tokens", [])
    ids |= {entry["content"]: entry["id"] for entry in listed}
    found = ids.get(token)
    return None if found is None else int(found)


def image_token(folder: Path, source: str) -> int:
    """The id that stands for an image's features.

    Raises:
        UserError: the tokenizer does not have it, or only remote code can read the tokenizer.
    """
    config = read_json(folder / "tokenizer_config.json")
    if config.get("auto_map") and not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{source}: its tokenizer ({config.get('tokenizer_class')}) is remote code and there "
            "is no tokenizer.json. Pass --tokenizer FOLDER with the tokenizer of the same model "
            "in transformers' layout (a repository whose name ends in -hf)."
        )
    found = token_id(folder, _TOKENS["context_image_token"])
    if found is None:
        raise UserError(
            f"{source}: its tokenizer must have the token {_TOKENS['context_image_token']}, but "
            f"no tokenizer file in {folder} names it. Pass --tokenizer FOLDER with one that does."
        )
    return found


def write_files(old: InternVL, source: Path, tokenizer: Path, out: Path) -> list[str]:
    """Write everything but config and weights; returns what the user should know.

    Args:
        old: the config.
        source: the old folder.
        tokenizer: where the tokenizer's files lie.
        out: the new folder.
    """
    notes = _write_tokenizer(old, tokenizer, out)
    size = {"height": old.image_size, "width": old.image_size}
    pixels = {"size": size, "image_mean": _MEAN, "image_std": _STD, "do_convert_rgb": True}
    tiles = {
        "crop_to_patches": bool(old.whole.get("dynamic_image_size", False)),
        "min_patches": int(old.whole.get("min_dynamic_patch", 1)),
        "max_patches": int(old.whole.get("max_dynamic_patch", 6)),
    }
    processor = {"processor_class": "InternVLProcessor"}
    write_json(
        out / "preprocessor_config.json",
        {"image_processor_type": "GotOcr2ImageProcessor", **processor, **pixels, **tiles},
    )
    write_json(
        out / "video_preprocessor_config.json",
        {"video_processor_type": "InternVLVideoProcessor", **processor, **pixels},
    )
    write_json(out / "processor_config.json", {**processor, "image_seq_length": old.image_tokens})
    write_json(out / "generation_config.json", _generation(old, source, tokenizer))
    if tiles["crop_to_patches"] and not old.whole.get("use_thumbnail", False):
        notes.append("use_thumbnail is off, but transformers' processor always adds a thumbnail")
    return notes


def _write_tokenizer(old: InternVL, source: Path, out: Path) -> list[str]:
    """Copy the tokenizer, name its image tokens, and give it the remote code's prompts."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    config = plain_tokenizer(read_json(source / "tokenizer_config.json"))
    config |= {"extra_special_tokens": _TOKENS, "processor_class": "InternVLProcessor"}
    name = str(old.whole.get("template"))
    chat = CHATS.get(name)
    notes = []
    if chat is None:
        notes.append(f"template {name!r} is not known; the chat template is kept as it was")
    else:
        config.pop("chat_template", None)
        (out / "chat_template.jinja").write_text(chat_template(chat), encoding="utf-8")
    write_json(out / "tokenizer_config.json", config)
    return notes


def plain_tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer's config without remote code; what it does stands in tokenizer.json then."""
    remote = {"tokenizer_class": "PreTrainedTokenizerFast"} if config.get("auto_map") else {}
    return {key: value for key, value in config.items() if key != "auto_map"} | remote


def _generation(old: InternVL, source: Path, tokenizer: Path) -> dict[str, Any]:
    """Generation ends where the remote `chat` ends it, and where the old settings do."""
    content = read_json(source / "generation_config.json")
    ends = content.get("eos_token_id", old.text.get("eos_token_id"))
    listed = [] if ends is None else ends if isinstance(ends, list) else [ends]
    chat = CHATS.get(str(old.whole.get("template")))
    last = token_id(tokenizer, chat.end) if chat else None
    if last is not None and last not in listed:
        listed = [*listed, last]
    for key in ("bos_token_id", "pad_token_id"):
        if old.text.get(key) is not None:
            content.setdefault(key, old.text[key])
    return {**content, "eos_token_id": listed} if listed else content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as people read it."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
