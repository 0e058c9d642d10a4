"""What tensor ops and rewrites have in common: a name, and parameters that a recipe may set."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from merge_ops.knobs import Knob
from merge_ops.traits import Traits


class Method(Protocol):
    """A merge method as recipes and studies see it: a `MergeOp` or a `Rewrite`."""

    @property
    def name(self) -> str:
        """As in a recipe's `merge_method`."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The decorated function; its docstring defines the method."""

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """What can be searched, by its name in YAML."""

    @property
    def options(self) -> Mapping[str, bool | float | str]:
        """The other parameters, by name, with their defaults."""

    @property
    def paper(self) -> str:
        """Where the method is defined."""

    @property
    def needs_base(self) -> bool:
        """It works on task vectors, so the base model is not an expert."""

    @property
    def min_experts(self) -> int:
        """The fewest models it merges."""

    @property
    def max_experts(self) -> int | None:
        """The most, or None for any number."""

    @property
    def traits(self) -> Traits:
        """What else it promises or wants."""

    def parameters(self) -> list[str]:
        """Every name that a recipe may set, sorted."""
