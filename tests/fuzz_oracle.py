"""What a folder means, read with the standard library alone: what a merge of it must give."""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from tests.fuzz_mutations import CONFIG, INDEX, WEIGHTS

_TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class WrongError(Exception):
    """A folder that must be refused, and why."""


def stored(files: Mapping[str, bytes]) -> dict[str, Tensor]:
    """The tensors of a model's files in float32, by name on disk.

    Raises:
        WrongError: a file or the index is damaged, or they contradict each other.
    """
    if WEIGHTS in files:
        return _tensors(files[WEIGHTS])
    index = _json(files.get(INDEX))
    entries = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise WrongError("there is no index")
    found: dict[str, Tensor] = {}
    for name in {str(value) for value in entries.values()}:
        if name not in files:
            raise WrongError(f"{name} is not there")
        tensors = _tensors(files[name])
        if (
            tensors.keys() != {k for k, v in entries.items() if v == name}
            or tensors.keys() & found
        ):
            raise WrongError("the index contradicts the files")
        found |= tensors
    return found


def _tensors(content: bytes) -> dict[str, Tensor]:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or 8 + size > len(content):
        raise WrongError("the header is longer than the file")
    header, data = _json(content[8 : 8 + size]), content[8 + size :]
    if not isinstance(header, dict):
        raise WrongError("the header is no object")
    header.pop("__metadata__", None)
    found, end = {}, 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            start, stop = entry["data_offsets"]
            shape, dtype = entry["shape"], _TORCH[entry["dtype"]]
            if start != end or stop - start != prod(shape) * dtype.itemsize or stop > len(data):
                raise WrongError(f"{name} is not where it should be")
            raw = bytearray(data[start:stop])
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            found[name], end = flat.view(shape).float(), stop
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WrongError(f"an entry is wrong: {error!r}") from None
    if end != len(data):
        raise WrongError("there are bytes that are of no tensor")
    return found


def structure(files: Mapping[str, bytes], known: Mapping[str, Any]) -> dict[str, Any]:
    """All of a config that decides which tensors its model has, in their meaning.

    Args:
        files: of the folder.
        known: keys by part of the config ("" or "text_config"), with what their absence means.
    """
    config = _json(files.get(CONFIG))
    if not isinstance(config, dict):
        raise WrongError("the config is no object")
    if _quantised(config):
        raise WrongError("the weights are quantised")
    found: dict[str, Any] = {"kinds": (config.get("architectures") or [""])[:1]}
    for part, defaults in known.items():
        own = config if part == "" else config.get(part)
        if not isinstance(own, dict):
            raise WrongError(f"{part} is no object")
        values = {key: own.get(key, default) for key, default in defaults.items()}
        if "head_dim" in values and values["head_dim"] is None:
            values["head_dim"] = values["hidden_size"] // values["num_attention_heads"]
        found |= {f"{part}.{key}": value for key, value in values.items()}
    return found


def tokens(files: Mapping[str, bytes]) -> dict[int, str]:
    """Tokens by id; of two tokens of one id the smaller.

    Raises:
        WrongError: there is no tokenizer.
    """
    content = _json(files.get("tokenizer.json"))
    try:
        pairs = dict(content["model"]["vocab"])
        pairs |= {one["content"]: one["id"] for one in content.get("added_tokens") or ()}
        return {i: token for token, i in sorted(pairs.items(), reverse=True)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WrongError(f"no tokenizer: {error!r}") from None


def _quantised(config: Any) -> bool:
    if not isinstance(config, dict):
        return False
    return bool(config.get("quantization_config")) or any(map(_quantised, config.values()))


def _json(content: bytes | None) -> Any:
    if content is None:
        raise WrongError("a file is not there")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WrongError(f"no JSON: {error!r:.80}") from None
