"""Parts of a layer that are searched with values of their own: attention, MLP, norms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REST = "rest"
"""The name of all tensors that no named part of a mapping holds."""

_ATTENTION = ("self_attn", "input_layernorm")
"""A layer's first half: attention and the norm before it."""
_KNOWN: Mapping[str, tuple[str, ...]] = {"norms": ("norm",), "attention": _ATTENTION, "mlp": ()}
"""In the order in which recipes ask: where norms are listed, every norm is one of them."""


@dataclass(frozen=True, slots=True)
class Module:
    """One part of every layer.

    Attributes:
        name: as in dimensions ("weight.math.2.mlp"); empty for a whole layer.
        filters: parts of the canonical names of its tensors; empty for all that is left.
    """

    name: str
    filters: tuple[str, ...] = ()

    def holds(self, name: str) -> bool:
        """Whether a tensor is in it, if no part before it holds the tensor."""
        return not self.filters or any(part in name for part in self.filters)


WHOLE = (Module(""),)


def listed(names: Sequence[str]) -> tuple[Module, ...]:
    """The named standard parts; the last of them holds all tensors that the others do not.

    `attention` and `mlp` include the norms before them unless `norms` is listed too.
    """
    chosen = [name for name in _KNOWN if name in names]
    if not chosen:
        return WHOLE
    return (*(Module(n, _KNOWN[n]) for n in chosen[:-1]), Module(chosen[-1]))


def mapped(filters: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[Module, ...]:
    """Parts of the user's own, in order, and `REST` if a tensor is in none of them.

    Args:
        filters: parts of names, by the name of the part.
        names: canonical names of the merged tensors; where they are not known, `REST` stays.
    """
    own = tuple(Module(name, tuple(parts)) for name, parts in filters.items())
    left = not names or any(not any(m.holds(n) for m in own) for n in names)
    return (*own, Module(REST)) if left else own


def owner(modules: Sequence[Module], name: str) -> Module:
    """The part that a tensor is in."""
    return next((m for m in modules if m.holds(name)), modules[-1])
