"""Writing a file of statistics tensor by tensor, so that never all of them are in memory."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from merge_ops.statistics_file import METADATA, Header, tensor_key

_BYTES = 4  # of a float32
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}

Room = Callable[[Callable[[], None]], None]
"""Calls a write, which may be called again where the disk was full."""


class StatisticsWriter:
    """An open file whose tensors are written in any order, each once."""

    def __init__(
        self, stream: FileIO, places: Mapping[str, tuple[int, tuple[int, ...]]], room: Room
    ) -> None:
        """Use `new_statistics`; `places` are offsets and shapes by the tensors' names."""
        self._stream = stream
        self._places = places
        self._room = room
        self.missing = set(places)

    def write(self, expert: int, name: str, tensor: Tensor) -> None:
        """Write one expert's statistics of one parameter."""
        key = tensor_key(expert, name)
        offset, shape = self._places[key]
        assert tuple(tensor.shape) == shape, f"{key}: {tuple(tensor.shape)} is not {shape}"
        self.missing.remove(key)
        content = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        flat = np.ascontiguousarray(content, dtype="<f4").reshape(-1).view(np.uint8)
        self._room(partial(_put, self._stream, offset, flat.data))


def total_bytes(shapes: Mapping[str, tuple[int, ...]], experts: int) -> int:
    """Size of the tensors of a file of statistics."""
    return experts * _BYTES * sum(prod(shape) for shape in shapes.values())


def _at_once(write: Callable[[], None]) -> None:
    write()


@contextmanager
def new_statistics(
    path: Path,
    header: Header,
    shapes: Mapping[str, tuple[int, ...]],
    room: Room = _at_once,
) -> Iterator[StatisticsWriter]:
    """Yield a writer; the file appears under its name when the block has written every tensor.

    Its room on the disk is taken before the block begins: what follows takes hours.

    Args:
        path: of the file, which is replaced.
        header: what the statistics are of.
        shapes: of one expert's tensors, by the parameters' canonical names.
        room: is given all writes.
    """
    lead, places = _layout(header, shapes)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with FileIO(handle, "wb") as stream:
            size = len(lead) + total_bytes(shapes, len(header.models))
            room(partial(_reserve, handle, size))
            room(partial(_put, stream, 0, memoryview(lead)))
            writer = StatisticsWriter(stream, places, room)
            yield writer
            assert not writer.missing, f"{sorted(writer.missing)[:3]} are not written"
            room(partial(os.fsync, handle))
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _reserve(handle: int, size: int) -> None:
    """Take all room that a file will need, or none."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        os.ftruncate(handle, 0)
        if error.errno not in _CANNOT_RESERVE:
            raise


def _put(stream: FileIO, offset: int, content: memoryview) -> None:
    """Write everything there; again from its beginning, if it is called again."""
    stream.seek(offset)
    while content:
        content = content[stream.write(content) :]


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
