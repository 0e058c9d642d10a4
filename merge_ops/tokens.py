"""Which token each id stands for, as the tokenizer in a model's folder has it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from merge_ops.errors import UserError, first_line
from merge_ops.hub import model_folder

_WHOLE, _ADDED = "tokenizer.json", "tokenizer_config.json"
_OTHERS = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "*.tiktoken", "*.spm")
"""Files from which transformers builds a tokenizer where there is no tokenizer.json."""


@cache
def tokens_of(reference: str) -> Mapping[int, str]:
    """Tokens by id, added ones too; an empty mapping where the folder holds no tokenizer.

    Args:
        reference: a folder or a hub id.

    Raises:
        UserError: a tokenizer is there and cannot be read; its file is named.
    """
    folder = model_folder(reference)
    if (folder / _WHOLE).is_file():
        return {**_added(folder / _ADDED), **_whole(folder / _WHOLE)}
    if any(path.is_file() for pattern in _OTHERS for path in folder.glob(pattern)):
        return _built(folder)
    return {}


def _whole(path: Path) -> dict[int, str]:
    from tokenizers import Tokenizer

    try:
        return _by_id(Tokenizer.from_file(str(path)).get_vocab())
    except Exception as error:  # the library raises no narrower one
        reason = first_line(error)
        raise UserError(f"{path}: it cannot be read as a tokenizer: {reason}") from None


def _by_id(vocabulary: Mapping[str, int]) -> dict[int, str]:
    """Tokens by id; of several with one id the smallest, for libraries give no order."""
    return {i: token for token, i in sorted(vocabulary.items(), reverse=True)}


def _added(path: Path) -> dict[int, str]:
    """Tokens that transformers adds to those of tokenizer.json."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get("added_tokens_decoder") or {}
        return {int(i): str(token["content"]) for i, token in listed.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = first_line(error)
        raise UserError(f"{path}: its added tokens cannot be read: {reason}") from None


def _built(folder: Path) -> dict[int, str]:
    from transformers import AutoTokenizer

    try:
        built = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return _by_id(built.get_vocab())
    except Exception as error:  # whatever a library for one of these formats raises
        raise UserError(f"{folder}: its tokenizer cannot be read: {first_line(error)}") from None
