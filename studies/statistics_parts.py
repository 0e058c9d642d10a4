"""The merged linear layers of a live model, sorted by where in the forward pass they run."""

from dataclasses import dataclass

from torch import nn

from merge_ops.decoder import find_decoder
from merge_ops.expert_statistics import linears_of
from merge_ops.resident import ResidentModel


@dataclass(frozen=True, slots=True)
class Parts:
    """The merged linear layers of the live model, in the order in which they run.

    Attributes:
        stack: the decoder's layers.
        names: for each of them, the canonical names of its merged parameters.
        inside: for each of them, its merged linear layers.
        outside: merged linear layers before and behind the stack.
        outside_names: canonical names of all merged parameters outside the stack.
    """

    stack: nn.ModuleList
    names: tuple[tuple[str, ...], ...]
    inside: tuple[dict[str, tuple[nn.Linear, ...]], ...]
    outside: dict[str, tuple[nn.Linear, ...]]
    outside_names: tuple[str, ...]


def find_parts(resident: ResidentModel) -> Parts:
    """Sort the live model's merged parameters by the decoder layer that they lie in."""
    stack = find_decoder(resident.module).stack
    linears = linears_of(resident.module, resident.parameters)
    owners = {id(p): i for i, layer in enumerate(stack) for p in layer.parameters()}
    places = {name: owners.get(id(p)) for name, p in resident.parameters.items()}
    names = tuple(tuple(n for n, own in places.items() if own == i) for i in range(len(stack)))
    return Parts(
        stack=stack,
        names=names,
        inside=tuple({n: linears[n] for n in own if n in linears} for own in names),
        outside={n: own for n, own in linears.items() if places[n] is None},
        outside_names=tuple(n for n, own in places.items() if own is None),
    )
