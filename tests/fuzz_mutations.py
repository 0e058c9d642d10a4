"""Damage to model folders, drawn from a seed: bytes, headers, indices, configs, tokenizers."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

Files = dict[str, bytes]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, TOKENIZER = "config.json", "tokenizer.json"
HUGE = (2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 7, 0.5, -0.0, 1e400, float("nan"), "", "x", "float32", "None",
    [], {}, [1], [None], {"a": 1}, "../x", "/etc/passwd", "\x00", "\ud7ff", "line\nbreak", *HUGE,
)  # fmt: skip
"""Values that JSON can hold and nobody expects."""
NOT_FLOAT = ("I32", "U8", "BOOL", "F8_E4M3", "I64")
DTYPES = ("F64", "F32", "F16", "BF16", *NOT_FLOAT, "F31", "", "f32")


def mutate(files: Mapping[str, bytes], rng: Random) -> tuple[str, Files]:
    """A copy of a folder's files with one to three mutations of one of them, and which of them."""
    changed = dict(files)
    shards = sorted(n for n in files if n.endswith(".safetensors"))
    name = rng.choice([*rng.choices(shards, k=4), CONFIG, CONFIG, CONFIG, TOKENIZER])
    if INDEX in files and rng.random() < 0.3:
        name = INDEX
    kinds = _WEIGHT_KINDS if name.endswith(".safetensors") else _JSON_KINDS
    if name == INDEX:
        kinds = (*_JSON_KINDS, *_INDEX_KINDS, *_INDEX_KINDS)
    kind = rng.choice(kinds)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            kind(changed, name, rng)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            flip(changed, name, rng)  # it was damaged too much for that
        if name not in changed:
            break
    return f"{_group(name)}: {kind.__name__}", changed


def write_files(folder: Path, files: Files) -> None:
    """A new folder of these files."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def mutate_weights(content: bytes, rng: Random) -> bytes:
    """A safetensors file with a mutation."""
    files = {WEIGHTS: content}
    try:
        rng.choice(_WEIGHT_KINDS)(files, WEIGHTS, rng)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        flip(files, WEIGHTS, rng)
    return files.get(WEIGHTS, b"")


def mutate_text(content: bytes, rng: Random) -> bytes:
    """A text file with one to four mutations."""
    files = {"": content}
    for _ in range(rng.choice((1, 2, 4))):
        rng.choice((flip, flip, cut, grow))(files, "", rng)
    return files[""]


def _group(name: str) -> str:
    return "weights" if name.endswith(".safetensors") else name.removesuffix(".json")


def flip(files: Files, name: str, rng: Random) -> None:
    """Another byte somewhere; in weights, in the header."""
    content = bytearray(files[name])
    end = len(content)
    if name.endswith(".safetensors") and end > 8:
        end = min(end, 8 + int.from_bytes(content[:8], "little"))
    if end:
        content[rng.randrange(end)] = rng.randrange(256)
    files[name] = bytes(content)


def cut(files: Files, name: str, rng: Random) -> None:
    """The file ends early."""
    files[name] = files[name][: rng.randrange(len(files[name]) + 1)]


def grow(files: Files, name: str, rng: Random) -> None:
    """Bytes are put in, or behind the end."""
    at = rng.choice((0, len(files[name]), rng.randrange(len(files[name]) + 1)))
    more = rng.choice((b"\0", b" ", b"{", b"]", b"\xff\xfe", bytes(8), b'"a":1,'))
    files[name] = files[name][:at] + more + files[name][at:]


def drop(files: Files, name: str, _rng: Random) -> None:
    """The file is not there."""
    del files[name]


def nest(files: Files, name: str, rng: Random) -> None:
    """JSON nested deeper than any parser follows."""
    depth = rng.choice((10, 1000, 100_000))
    files[name] = b'{"a":' * depth + b"1" + b"}" * depth if rng.random() < 0.5 else b"[" * depth


def length(files: Files, name: str, rng: Random) -> None:
    """The header claims another length."""
    size = len(files[name])
    claimed = rng.choice((0, 1, 7, size - 8, size, size + 1, 10**8, 10**8 + 1, 2**63, 2**64 - 1))
    files[name] = struct.pack("<Q", max(0, claimed)) + files[name][8:]


def header(files: Files, name: str, rng: Random) -> None:
    """One field of one tensor's entry, or a whole entry, is another."""
    entries, data = split(files[name])
    tensors = [key for key in entries if isinstance(entries[key], dict) and key != "__metadata__"]
    rng.choice(_ENTRY)(entries, tensors, rng)
    files[name] = join(entries, data)


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join(entries: Mapping[str, Any], data: bytes) -> bytes:
    """A safetensors file."""
    text = json.dumps(entries).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


def _dtype(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    entries[rng.choice(keys)]["dtype"] = rng.choice((*DTYPES, *ODD))


def _shape(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    entry = entries[rng.choice(keys)]
    shape = entry.get("shape")
    if not isinstance(shape, list) or not shape or rng.random() < 0.2:
        entry["shape"] = rng.choice(ODD)
    elif rng.random() < 0.5:
        entry["shape"] = rng.choice(
            (shape[::-1], [*shape, 1], [1, *shape], shape[1:], [*shape, 0])
        )
    else:
        shape[rng.randrange(len(shape))] = rng.choice(ODD)


def _offsets(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    entry = entries[rng.choice(keys)]
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or len(offsets) != 2 or rng.random() < 0.2:
        entry["data_offsets"] = rng.choice(ODD)
    elif rng.random() < 0.5:
        step = rng.choice((-4, -1, 1, 4, 2**20))
        moved = [x + step if isinstance(x, int) else x for x in offsets]
        entry["data_offsets"] = rng.choice((offsets[::-1], [offsets[0]], moved))
    else:
        offsets[rng.randrange(2)] = rng.choice(ODD)


def _swap(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    """Two tensors change places, or lie over each other."""
    a, b = rng.choice(keys), rng.choice(keys)
    one, two = entries[a].get("data_offsets"), entries[b].get("data_offsets")
    entries[a]["data_offsets"] = two
    if rng.random() < 0.5:
        entries[b]["data_offsets"] = one


def _rename(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    key = rng.choice(keys)
    new = rng.choice((f"{key}x", f"model.{key}", key.upper(), "", "__metadata__", "score.weight"))
    entries[new] = entries.pop(key)


def _remove(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    del entries[rng.choice(keys)]


def _add(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    """An empty tensor behind the data, which is a valid file."""
    end = max((entries[k]["data_offsets"][1] for k in keys if _has_end(entries[k])), default=0)
    name = rng.choice(("extra.weight", "model.layers.9.mlp.up_proj.weight", "b" * 300))
    entries[name] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}


def _has_end(entry: Any) -> bool:
    offsets = entry.get("data_offsets")
    return isinstance(offsets, list) and len(offsets) == 2 and isinstance(offsets[1], int)


def _odd_entry(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    entries[rng.choice(keys)] = rng.choice(ODD)


def _field(entries: dict[str, Any], keys: list[str], rng: Random) -> None:
    entry = entries[rng.choice(keys)]
    entry.pop(rng.choice(("dtype", "shape", "data_offsets")), None)


def _metadata(entries: dict[str, Any], _keys: list[str], rng: Random) -> None:
    odd = rng.choice(ODD)
    entries["__metadata__"] = rng.choice(({"format": "pt"}, {"format": odd}, odd, {"x": "y"}))


_ENTRY: tuple[Callable[[dict[str, Any], list[str], Random], None], ...] = (
    _dtype, _shape, _offsets, _swap, _rename, _remove, _add, _odd_entry, _field, _metadata,
)  # fmt: skip


def twice(files: Files, name: str, rng: Random) -> None:
    """A key of the header or of a JSON object stands twice."""
    found = split(files[name]) if name.endswith(".safetensors") else None
    text = files[name] if found is None else json.dumps(found[0]).encode()
    key = rng.choice([b'"dtype"', b'"shape"', b'"model.norm.weight"', b'"a"', b'"vocab_size"'])
    value = json.dumps(rng.choice(ODD)).encode()
    at = text.find(b"{", rng.randrange(max(1, len(text))))
    if at < 0:
        return
    text = text[: at + 1] + key + b":" + value + b"," + text[at + 1 :]
    files[name] = text if found is None else struct.pack("<Q", len(text)) + text + found[1]


def value(files: Files, name: str, rng: Random) -> None:
    """One value somewhere in the JSON is another, or its key is gone."""
    content = json.loads(files[name])
    parent, key = rng.choice(_places(content))
    draw = rng.random()
    if draw < 0.2 and isinstance(parent, dict):
        del parent[key]
    elif draw < 0.4 and isinstance(parent[key], int):
        parent[key] = rng.choice((parent[key] + 1, parent[key] * 2, -parent[key], *HUGE))
    elif draw < 0.5 and isinstance(parent, dict):
        parent[rng.choice(("quantization_config", "auto_map", "unknown", "dtype"))] = rng.choice(
            (*ODD, {"quant_method": "bitsandbytes"}, {"AutoModel": "evil.py--Evil"})
        )
    else:
        parent[key] = rng.choice(ODD)
    files[name] = json.dumps(content).encode("utf-8", "surrogatepass")


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    if not isinstance(content, (dict, list)):
        return []
    keys = list(content) if isinstance(content, dict) else range(len(content))
    return [pair for k in keys for pair in [(content, k), *_places(content[k])]]


def reorder(files: Files, name: str, rng: Random) -> None:
    """The same JSON in another order, with other spaces: it means the same."""
    content = json.loads(files[name])
    if isinstance(content, dict):
        content = dict(sorted(content.items(), reverse=rng.random() < 0.5))
    files[name] = json.dumps(content, indent=rng.choice((None, 1, 4))).encode()


def remap(files: Files, name: str, rng: Random) -> None:
    """An entry of the index names another file."""
    content = json.loads(files[name])
    entries = content["weight_map"]
    key = rng.choice(sorted(entries))
    shards = sorted(n for n in files if n.endswith(".safetensors"))
    entries[key] = rng.choice((
        *shards, "gone.safetensors", "../model.safetensors", "/etc/passwd", "config.json",
        f"./{shards[0]}" if shards else "", f"sub/../{shards[0]}" if shards else "", *ODD,
    ))  # fmt: skip
    if rng.random() < 0.3:
        entries[rng.choice(("more.weight", f"{key}x"))] = entries.pop(key)
    files[name] = json.dumps(content).encode("utf-8", "surrogatepass")


def stray(files: Files, name: str, _rng: Random) -> None:
    """A file beside those of the index is none of the model."""
    shards = sorted(n for n in files if n.endswith(".safetensors") and n != name)
    if shards:
        files["zzz.safetensors"] = files[shards[0]]


Kind = Callable[[Files, str, Random], None]
_WEIGHT_KINDS: tuple[Kind, ...] = (flip, cut, grow, drop, nest, length, twice, *[header] * 12)
_JSON_KINDS: tuple[Kind, ...] = (flip, flip, cut, grow, drop, nest, twice, reorder, *[value] * 8)
_INDEX_KINDS: tuple[Kind, ...] = (remap, remap, remap, stray)
