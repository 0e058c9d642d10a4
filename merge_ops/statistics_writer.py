"""Writing a file of statistics tensor by tensor, so that never all of them are in memory."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from merge_ops.statistics_file import METADATA, Header, tensor_key

_BYTES = 4  # of a float32


class StatisticsWriter:
    """An open file whose tensors are written in any order, each once."""

    def __init__(
        self, stream: BinaryIO, places: Mapping[str, tuple[int, tuple[int, ...]]]
    ) -> None:
        """Use `new_statistics`; `places` are offsets and shapes by the tensors' names."""
        self._stream = stream
        self._places = places
        self.missing = set(places)

    def write(self, expert: int, name: str, tensor: Tensor) -> None:
        """Write one expert's statistics of one parameter."""
        key = tensor_key(expert, name)
        offset, shape = self._places[key]
        assert tuple(tensor.shape) == shape, f"{key}: {tuple(tensor.shape)} is not {shape}"
        self.missing.remove(key)
        content = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        self._stream.seek(offset)
        self._stream.write(np.ascontiguousarray(content, dtype="<f4").data)


def total_bytes(shapes: Mapping[str, tuple[int, ...]], experts: int) -> int:
    """Size of the tensors of a file of statistics."""
    return experts * _BYTES * sum(prod(shape) for shape in shapes.values())


@contextmanager
def new_statistics(
    path: Path, header: Header, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[StatisticsWriter]:
    """Yield a writer; the file appears under its name when the block has written every tensor.

    Args:
        path: of the file, which is replaced.
        header: what the statistics are of.
        shapes: of one expert's tensors, by the parameters' canonical names.
    """
    lead, places = _layout(header, shapes)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(lead)
            writer = StatisticsWriter(stream, places)
            yield writer
            assert not writer.missing, f"{sorted(writer.missing)[:3]} are not written"
            stream.flush()
            os.fsync(stream.fileno())
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _layout(
    header: Header, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[bytes, dict[str, tuple[int, tuple[int, ...]]]]:
    """The bytes in front of the tensors, and where each tensor begins.

    Source: the safetensors format: length of the JSON in 8 bytes, JSON, tensors without gaps.
    """
    entries: dict[str, object] = {"__metadata__": {METADATA: header.model_dump_json()}}
    offsets: dict[str, tuple[int, tuple[int, ...]]] = {}
    end = 0
    for expert in range(len(header.models)):
        for name in sorted(shapes):
            begin, end = end, end + _BYTES * prod(shapes[name])
            key = tensor_key(expert, name)
            offsets[key] = (begin, shapes[name])
            entries[key] = {
                "dtype": "F32",
                "shape": list(shapes[name]),
                "data_offsets": [begin, end],
            }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    lead = len(text).to_bytes(8, "little") + text
    return lead, {key: (len(lead) + begin, shape) for key, (begin, shape) in offsets.items()}
