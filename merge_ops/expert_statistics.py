"""Statistics of experts as the engine reads them: which tensors have some, and where they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import torch
from torch import Tensor, nn

from merge_ops.registry import MergeOp
from merge_ops.vocabulary import Rows


class ExpertStatistics(Protocol):
    """One tensor of statistics per expert, by the canonical name of a parameter."""

    def key(self, name: str, /) -> str:
        """What decides the statistics of `name`: equal keys, equal tensors."""
        ...

    def read(self, name: str, device: torch.device, /) -> list[Tensor]:
        """One tensor per expert, or none where the parameter has no statistics."""
        ...


class NoStatistics:
    """For methods that take none."""

    def key(self, _name: str) -> str:
        """Nothing decides nothing."""
        return ""

    def read(self, _name: str, _device: torch.device) -> list[Tensor]:
        """No tensors."""
        return []


class HeldStatistics:
    """Statistics in memory while they are being collected, one group of parameters at a time."""

    def __init__(self) -> None:
        self._token = uuid4().hex  # two collections on one live model never share a key
        self._held: Mapping[str, Sequence[Tensor]] = {}
        self._seen: set[str] = set()

    def put(self, tensors: Mapping[str, Sequence[Tensor]]) -> None:
        """Hold these instead of those before, which by now are merged."""
        assert not self._seen & tensors.keys(), "statistics are collected once a parameter"
        self._held = tensors
        self._seen |= tensors.keys()

    def key(self, name: str) -> str:
        """Changes once, when the parameter's statistics come."""
        return self._token if name in self._seen else ""

    def read(self, name: str, device: torch.device) -> list[Tensor]:
        """What is held of `name`, on the device."""
        return [tensor.to(device) for tensor in self._held.get(name, ())]


@dataclass(frozen=True, slots=True)
class RowStatistics:
    """Statistics shaped like parameters, of those rows that are merged.

    Attributes:
        whole: of all rows.
        rows: those that are merged, by canonical name, where they are not all.
    """

    whole: ExpertStatistics
    rows: Mapping[str, Rows]

    def key(self, name: str) -> str:
        """That of the whole; the rows are the resident models' own."""
        return self.whole.key(name)

    def read(self, name: str, device: torch.device) -> list[Tensor]:
        """The rows that are merged."""
        tensors = self.whole.read(name, device)
        rows = self.rows.get(name)
        return tensors if rows is None else [rows.of(tensor) for tensor in tensors]


def linears_of(
    module: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> dict[str, tuple[nn.Linear, ...]]:
    """The linear layers whose inputs have a Gram matrix, by their weight's canonical name.

    A weight that is tied to an embedding is none of them, and neither is a bias.

    Args:
        module: the live model.
        parameters: its merged parameters by canonical name.
    """
    owners: dict[int, list[nn.Module]] = {}
    for child in module.modules():
        for parameter in child.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(child)
    found = {}
    for name, parameter in parameters.items():
        linears = [o for o in owners.get(id(parameter), []) if isinstance(o, nn.Linear)]
        same = len(linears) == len(owners.get(id(parameter), []))
        if linears and same and all(o.weight is parameter for o in linears):
            found[name] = tuple(linears)
    return found


def statistics_shapes(
    op: MergeOp, module: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the statistics that one expert needs, by canonical name.

    Gram matrices are (in, in) for each linear layer; Fisher diagonals are shaped like their
    parameters, all of which have one.
    """
    if op.traits.statistics == "grams":
        linears = linears_of(module, parameters)
        return {name: (layers[0].in_features,) * 2 for name, layers in linears.items()}
    return {name: tuple(parameter.shape) for name, parameter in parameters.items()}
