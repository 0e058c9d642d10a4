"""The models beside the live one: weights, or task vectors, wherever the plan has put them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Read = Callable[[], Tensor]

_PART = 1 << 18  # elements that are compared at a time
_BESIDE = 0.1
"""Share of a tensor's bytes that what rounding loses may take."""


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor of one model.

    Attributes:
        tensor: its weights, or its task vector.
        base: the model that the task vector is taken from, or None for weights.
        places: flat indices where base + task vector is not the weight, bit for bit.
        values: the weights there.
        rounded: how many entries of its task vector its dtype rounds.
    """

    tensor: Tensor
    base: str | None = None
    places: Tensor | None = None
    values: Tensor | None = None
    rounded: int = 0


def difference(weights: Tensor, base: Tensor, reference: str) -> Held:
    """The task vector in the tensors' dtype, with what is lost by rounding beside it.

    Where that would take much memory, the weights themselves, or where dtypes differ.
    """
    if weights.dtype != base.dtype:
        return Held(weights)
    tau = weights - base
    lost = _rounded(weights.flatten(), base.flatten(), tau.flatten())
    values = weights.flatten()[lost]
    if lost.nbytes + values.nbytes > _BESIDE * weights.nbytes:
        return Held(weights, rounded=lost.numel())
    return Held(tau, reference, lost, values, lost.numel())


def _rounded(weights: Tensor, base: Tensor, tau: Tensor) -> Tensor:
    """Indices where base + task vector is not the weight; in parts, which need no memory."""
    found = []
    for start in range(0, max(1, tau.numel()), _PART):
        part = slice(start, start + _PART)
        wrong = _bits(base[part] + tau[part]) != _bits(weights[part])
        found.append(wrong.nonzero().flatten() + start)
    narrow = torch.int32 if tau.numel() < 1 << 31 else torch.int64
    return torch.cat(found).to(narrow)


def _bits(tensor: Tensor) -> Tensor:
    """As integers, which tell -0.0 from 0.0."""
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize])


class Sources:
    """Tensors by model reference and canonical name, on the device that asks for them.

    A tensor may lie on the device, in pinned host memory, or in a file that is mapped into
    memory: it comes to the device when it is asked for. `prefetch` starts to copy before that.
    """

    def __init__(
        self,
        held: Mapping[str, Mapping[str, Held | Read]],
        device: torch.device,
        homes: Mapping[str, torch.device] | None = None,
    ) -> None:
        """Keep `held`: by reference and name, a tensor or a way to read it.

        `homes` gives tensors that are merged elsewhere than on `device` their own, by name.
        """
        self._device = device
        self._homes = homes or {}
        self._held = held
        cuda: Any = torch.cuda
        devices = {device, *self._homes.values()}
        self._streams = {d: cuda.Stream(d) for d in devices if d.type == "cuda"}
        self._coming: dict[tuple[str, str], Tensor] = {}

    def references(self) -> list[str]:
        """The models, sorted."""
        return sorted(self._held)

    def home(self, name: str) -> torch.device:
        """Where a tensor is merged."""
        return self._homes.get(name, self._device)

    def weights(self, reference: str, name: str) -> Tensor:
        """A model's weights, in its own shape."""
        held = self._find(reference, name)
        tensor = self._bring(reference, name, held.tensor)
        if held.base is None:
            return tensor
        weights = self.weights(held.base, name) + tensor
        if held.places is not None and held.values is not None:
            weights.view(-1)[held.places] = held.values
        return weights

    def task_vector(self, reference: str, base: str, name: str) -> Tensor:
        """Weights minus those of `base`, subtracted in their dtype."""
        held = self._find(reference, name)
        if held.base == base:
            return self._bring(reference, name, held.tensor)
        return self.weights(reference, name) - self.weights(base, name)

    def prefetch(self, references: Sequence[str], name: str) -> None:
        """Start to copy what lies elsewhere, beside what the device computes now."""
        device = self.home(name)
        stream = self._streams.get(device)
        if stream is None:
            return
        with torch.cuda.stream(stream):
            for reference in references:
                tensor = self._find(reference, name).tensor
                if tensor.device != device:
                    self._coming[reference, name] = tensor.to(device, non_blocking=True)

    def is_resident(self, reference: str, name: str, base: str | None = None) -> bool:
        """Whether weights, or the task vector from `base`, lie on the device for good as such."""
        held = self._held[reference][name]
        if not isinstance(held, Held):
            return False
        return held.base == base and held.tensor.device == self.home(name)

    def rounded(self) -> tuple[int, int]:
        """How many entries of task vectors are rounded, of how many in those tensors."""
        every = [held for tensors in self._held.values() for held in tensors.values()]
        found = [held for held in every if isinstance(held, Held) and held.rounded]
        return sum(held.rounded for held in found), sum(held.tensor.numel() for held in found)

    def _find(self, reference: str, name: str) -> Held:
        held = self._held[reference][name]
        return held if isinstance(held, Held) else Held(held())

    def _bring(self, reference: str, name: str, tensor: Tensor) -> Tensor:
        device = self.home(name)
        if tensor.device == device:
            return tensor
        copied = self._coming.pop((reference, name), None)
        if copied is None:
            return tensor.to(device)
        current = torch.cuda.current_stream(device)
        current.wait_stream(self._streams[device])
        copied.record_stream(current)
        return copied
