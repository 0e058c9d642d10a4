"""Captured decoder calls on disk: one safetensors file each, with a checksum."""

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from objectives.call_tensors import bytes_of, put_together, take_apart
from objectives.replay import DecoderCall

_SUFFIX, _PARTIAL = ".safetensors", ".partial"
_LEFT = 3600.0  # seconds after which nobody writes at a file any more: its process was killed


class CallFiles:
    """A folder of calls by key, up to a number of bytes; a damaged file is as good as none.

    Attributes:
        held: bytes of the files there.
    """

    def __init__(self, folder: Path, limit: int, report: Callable[[str], None]) -> None:
        """Args: `report` is told of the first damaged file."""
        self._folder = folder
        self._limit = limit
        self._report = report
        self._said = False
        for partial in folder.glob(f"*{_PARTIAL}"):
            with suppress(OSError):  # another process may have removed it
                if time.time() - partial.stat().st_mtime > _LEFT:
                    partial.unlink()
        found = folder.glob(f"*{_SUFFIX}") if folder.is_dir() else ()
        self.held = sum(path.stat().st_size for path in found)

    def get(self, key: str) -> DecoderCall | None:
        """The call, on the CPU; None if there is none. A damaged file is removed."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts.get("checksum") == _checksum(tensors, facts.get("structure", "")):
                return put_together(tensors, json.loads(facts["structure"]))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, struct.error):
            pass
        if not self._said:
            self._report(f"{path}: this stored prompt is damaged; such ones are made anew")
        self._said = True
        self.held -= path.stat().st_size
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, call: DecoderCall) -> bool:
        """Write the call if there is room; a crash leaves no half of a file under its name.

        A disk that takes one not is not tried again.
        """
        if self.held + bytes_of(call) > self._limit:
            return False
        try:
            tensors, plain = take_apart(call)
        except TypeError:
            return False
        structure = json.dumps(plain)
        tensors = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
        facts = {"structure": structure, "checksum": _checksum(tensors, structure)}
        path = self._path(key)
        partial = path.with_suffix(f".{os.getpid()}{_PARTIAL}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, partial, metadata=facts)
            partial.replace(path)
        except (OSError, SafetensorError):  # a full disk: the call is made anew each time
            partial.unlink(missing_ok=True)
            self._limit = self.held
            return False
        self.held += path.stat().st_size
        return True

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


def _checksum(tensors: Mapping[str, Tensor], structure: str) -> str:
    value = zlib.crc32(structure.encode())
    for name in sorted(tensors):
        flat = tensors[name].reshape(-1).view(uint8) if tensors[name].numel() else tensors[name]
        value = zlib.crc32(flat.numpy().data, value)
    return f"{value:08x}"
