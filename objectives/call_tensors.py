"""The tensors of a captured decoder call: counted, moved, and taken apart for a file."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from objectives.replay import DecoderCall

_TENSOR = "tensor"


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors of a nested structure, in its order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for item in value.values() for t in tensors_of(item)]
    return (
        [t for item in value for t in tensors_of(item)] if isinstance(value, list | tuple) else []
    )


def bytes_of(call: DecoderCall) -> int:
    """Bytes of all tensors of a call."""
    found = [*tensors_of(call.arguments), call.attention_mask, call.input_ids]
    return sum(t.numel() * t.element_size() for t in found)


def moved(call: DecoderCall, move: Callable[[Tensor], Tensor]) -> DecoderCall:
    """The call with every tensor moved."""
    return DecoderCall(_map(call.arguments, move), move(call.attention_mask), move(call.input_ids))


def to_device(call: DecoderCall, device: torch.device) -> DecoderCall:
    """The call on a device; copies from pinned memory do not wait."""
    return moved(call, lambda t: t.to(device, non_blocking=True))


def _map(value: Any, move: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, Mapping):
        return {key: _map(item, move) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_map(item, move) for item in value)
    return value


def take_apart(call: DecoderCall) -> tuple[dict[str, Tensor], Any]:
    """Tensors by number, and a structure of plain data in which they stand by that number.

    Raises:
        TypeError: an argument is neither a tensor nor plain data.
    """
    found: list[Tensor] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            found.append(value)
            return {_TENSOR: str(len(found) - 1)}
        if isinstance(value, Mapping):
            return {"dict": {key: plain(item) for key, item in value.items()}}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [plain(item) for item in value]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{type(value).__name__} cannot be written to a file.")

    structure = plain([call.arguments, call.attention_mask, call.input_ids])
    return {str(i): tensor.contiguous() for i, tensor in enumerate(found)}, structure


def put_together(tensors: Mapping[str, Tensor], structure: Any) -> DecoderCall:
    """The call that `take_apart` took apart."""

    def build(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == _TENSOR:
            return tensors[content]
        if kind == "dict":
            return {key: build(item) for key, item in content.items()}
        items = [build(item) for item in content]
        return tuple(items) if kind == "tuple" else items

    return DecoderCall(*build(structure))
