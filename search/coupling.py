"""How the values of several experts hang together: each its own, one for all, or shares of one."""

from collections.abc import Sequence
from typing import Literal

Coupling = Literal["free", "shared", "simplex"]
"""free: a value per expert; shared: one value for all experts; simplex: values sum to 1."""


def owners(coupling: Coupling, labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the searched values of one group: experts, nobody, or cuts of a stick."""
    if coupling == "shared":
        return ("",)
    if coupling == "simplex":
        return tuple(f"cut{i}" for i in range(1, len(labels)))
    return tuple(labels)


def to_experts(coupling: Coupling, values: Sequence[float], count: int) -> list[float]:
    """One value per expert from the searched values.

    A stick of length 1 is broken `count - 1` times; uniform cuts give uniform points of the
    simplex, and for two experts the first cut is the first one's weight (Devroye, Non-uniform
    random variate generation, chapter 11).
    """
    if coupling == "shared":
        return list(values) * count
    if coupling == "free":
        return list(values)
    left, found = 1.0, []
    for i, cut in enumerate(values):
        share = 1 - (1 - cut) ** (1 / (count - 1 - i))
        found.append(left * share)
        left *= 1 - share
    return [*found, left]


def from_experts(coupling: Coupling, values: Sequence[float]) -> list[float] | None:
    """The searched values that give one value per expert, or None where there are none."""
    count = len(values)
    if coupling == "free":
        return list(values)
    if coupling == "shared":
        return [values[0]] if all(v == values[0] for v in values) else None
    if min(values) < 0 or abs(sum(values) - 1) > 1e-9:
        return None
    left, cuts = 1.0, []
    for i, value in enumerate(values[:-1]):
        share = min(value / left, 1.0) if left > 1e-12 else 0.0
        cuts.append(1 - (1 - share) ** (count - 1 - i))
        left -= value
    return cuts
