"""Writing tensors as they come: a safetensors file is closed as soon as it is full."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from merge_ops.errors import UserError, first_line

SHARD_BYTES = 2_000_000_000
"""Of one file, and so about what writing takes in memory."""


class ShardWriter:
    """Writes `model.safetensors`, or numbered files with an index, into a folder."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._limit = shard_bytes
        self._waiting: dict[str, Tensor] = {}
        self._written: list[list[str]] = []
        self._bytes = 0
        self.total_bytes = 0

    def add(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Take named tensors; one memory under two names is written under both.

        Raises:
            UserError: the disk is full.
        """
        for name, tensor in tensors:
            size = tensor.numel() * tensor.element_size()
            if self._waiting and self._bytes + size > self._limit:
                self._flush()
            self._waiting[name] = tensor
            self._bytes += size
            self.total_bytes += size

    def close(self) -> int:
        """Write what is left, the files' names and the index; returns the number of tensors."""
        self._flush()
        names = self._names()
        for number, name in enumerate(names):
            self._scratch(number).rename(self._folder / name)
        placed = {
            key: name for name, keys in zip(names, self._written, strict=True) for key in keys
        }
        if len(names) > 1:
            index = {"metadata": {"total_size": self.total_bytes}, "weight_map": placed}
            path = self._folder / "model.safetensors.index.json"
            path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return len(placed)

    def _flush(self) -> None:
        """Write the tensors that wait as one file."""
        alone = {name: tensor.contiguous() for name, tensor in self._waiting.items()}
        seen: set[int] = set()
        for name, tensor in alone.items():  # safetensors refuses one memory under two names
            alone[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
            seen.add(tensor.data_ptr())
        try:
            save_file(alone, self._scratch(len(self._written)), metadata={"format": "pt"})
        except (SafetensorError, OSError) as error:
            reason = first_line(error)
            raise UserError(
                f"{self._folder.parent}: weights cannot be written: {reason}"
            ) from None
        self._written.append(list(alone))
        self._waiting, self._bytes = {}, 0

    def _scratch(self, number: int) -> Path:
        return self._folder / f".shard-{number}"

    def _names(self) -> list[str]:
        total = len(self._written)
        if total == 1:
            return ["model.safetensors"]
        return [f"model-{n:05}-of-{total:05}.safetensors" for n in range(1, total + 1)]
