"""What a merge method promises beyond its signature; tests, recipe and engine read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from merge_ops.formula import Formula

FLOAT32 = 4
"""Bytes of an entry of what is solved in float32."""

Working = Callable[[int, int, int, int], int]
"""`working(rows, columns, experts, precise)`: see `Traits.working`."""

Law = Literal["fixed_base", "symmetric"]
"""Laws that a method may break by definition.

fixed_base: experts equal to the base give the base, with the options at their defaults.
symmetric: permuting the experts together with their parameters changes nothing but rounding.
"""


@dataclass(frozen=True, slots=True)
class End:
    """An end of a knob's range where the result is one of the inputs, within rounding.

    Attributes:
        knob: the knob, by its name in YAML; every other parameter at its default.
        value: its value there, for every expert.
        gives: the base, or the only expert.
    """

    knob: str
    value: float
    gives: Literal["base", "expert"]


@dataclass(frozen=True, slots=True)
class Traits:
    """Declarations of one method.

    Attributes:
        base_switch: the switch that makes a method without need of a base work on task vectors;
            a recipe that names a base model turns it on, and the base is then no expert.
        matrices_only: the method is defined on 2-D parameters; any other takes the mean of the
            task vectors.
        scale: the knob s for which the result is base + s x (a change that does not depend on s).
        solve: `solve(taus, **parameters other than the scale)` gives that change in float32, for
            methods whose change is costly: solved once, scaled often. A knob beside the scale
            is then searched over a short list of values.
        working: `working(rows, columns, experts, precise)` gives the bytes that solving a matrix
            holds at most, beside its float32 task vectors and whatever the other parameters; an
            entry of what is solved precisely (float64 on the CPU) takes `precise` bytes.
        operands: what the method works on, and so what the engine keeps of the experts.
        formula: `formula(facts, **parameters)` gives the method as one expression over the
            elements of a tensor, or None where those parameters make it more than that.
        statistics: the parameter that takes one tensor of statistics per expert; no recipe key.
        through_merged: its statistics are of inputs that reach a layer through layers that are
            merged already, rather than through each expert's own.
        views: the option that picks one of several models that the method makes at once: the
            place of an expert, or "unified" for what they share.
        kept: `kept(n, density)` is the exact number of the n entries of a task vector that stay.
        ends: where the method gives back one of its inputs.
        breaks: laws that the method breaks by definition, each with the reason.
    """

    base_switch: str | None = None
    matrices_only: bool = False
    scale: str | None = None
    solve: Callable[..., Tensor] | None = None
    working: Working | None = None
    operands: Literal["weights", "task_vectors"] = "weights"
    formula: Callable[..., Formula | None] | None = None
    statistics: Literal["grams", "fishers"] | None = None
    through_merged: bool = False
    views: str | None = None
    kept: Callable[[int, float], int] | None = None
    ends: tuple[End, ...] = ()
    breaks: Mapping[Law, str] = field(default_factory=dict)
