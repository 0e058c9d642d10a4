"""Names to merge methods: every module of merge_ops/methods registers the functions it holds."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from torch import Tensor

from merge_ops.errors import UserError, did_you_mean

Value = bool | float | str
"""What a parameter of a method may be, once resolved for one tensor (and one expert)."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A searchable number in [low, high].

    Attributes:
        per_expert: the method takes one value per expert rather than one for all.
        log: a sampler should search it on a logarithmic scale.
        default: the value where a recipe is silent; taken from the function's signature when the
            knob has one value for all.
    """

    low: float
    high: float
    per_expert: bool = False
    log: bool = False
    default: float = 1.0

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high:
            raise ValueError(f"`low <= default <= high` must hold, but got {self}.")


@dataclass(frozen=True, slots=True)
class MergeOp:
    """A registered merge method.

    Attributes:
        name: as in a recipe's `merge_method`.
        fn: `fn(base, experts, **parameters) -> Tensor`, pure; the result has the base's shape and
            dtype. Per-expert knobs arrive as one number per expert.
        knobs: what can be searched, by its name in YAML.
        options: the other parameters (switches), by name, with their defaults.
        paper: where the method is defined.
        needs_base: it works on task vectors, so the base model is not an expert.
        random: it takes `draw`, a `merge_ops.masks.Draw`.
        min_experts: the fewest experts it merges.
        max_experts: the most, or None for any number.
    """

    name: str
    fn: Callable[..., Tensor]
    knobs: Mapping[str, Knob]
    options: Mapping[str, Value]
    paper: str
    needs_base: bool
    random: bool
    min_experts: int
    max_experts: int | None

    def parameters(self) -> list[str]:
        """Every name that a recipe may set, sorted."""
        return sorted([*self.knobs, *self.options])


_OPS: dict[str, MergeOp] = {}
F = TypeVar("F", bound=Callable[..., Tensor])


def merge_op(
    *, paper: str, needs_base: bool = True, min_experts: int = 1, max_experts: int | None = None
) -> Callable[[F], F]:
    """Register the decorated function under its own name; the function itself is unchanged.

    Keyword-only parameters annotated with a `Knob` become searchable; the rest are options. A
    trailing underscore is dropped from names (`lambda_` is `lambda` in YAML).
    """

    def register(fn: F) -> F:
        if fn.__name__ in _OPS:
            raise ValueError(f"The merge method {fn.__name__!r} is already registered.")
        knobs, options, random = _signature(fn)
        _OPS[fn.__name__] = MergeOp(
            fn.__name__, fn, knobs, options, paper, needs_base, random, min_experts, max_experts
        )
        return fn

    return register


def _signature(fn: Callable[..., Tensor]) -> tuple[dict[str, Knob], dict[str, Value], bool]:
    """Knobs, options, and whether the function draws random numbers."""
    hints = get_type_hints(fn, include_extras=True)
    knobs: dict[str, Knob] = {}
    options: dict[str, Value] = {}
    named = inspect.signature(fn).parameters.values()
    for parameter in named:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name == "draw":
            continue
        name, hint = parameter.name.removesuffix("_"), hints[parameter.name]
        if get_origin(hint) is Annotated:
            knobs[name] = get_args(hint)[1]
        else:
            options[name] = parameter.default
    return knobs, options, any(parameter.name == "draw" for parameter in named)


@cache
def _discover() -> None:
    import merge_ops.methods

    for module in pkgutil.iter_modules(merge_ops.methods.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"merge_ops.methods.{module.name}")


def all_ops() -> list[MergeOp]:
    """Every method, by name, so that the order never depends on the order of imports."""
    _discover()
    return [_OPS[name] for name in sorted(_OPS)]


def get_op(name: str) -> MergeOp:
    """Look a method up.

    Raises:
        UserError: there is none of that name; the closest is named.
    """
    _discover()
    if name not in _OPS:
        hint = did_you_mean(name, _OPS)
        raise UserError(f"unknown merge method {name!r}{hint} Known: {', '.join(sorted(_OPS))}.")
    return _OPS[name]


def check_experts(op: MergeOp, count: int) -> None:
    """Refuse a number of experts that the method cannot merge.

    Raises:
        UserError: too few or too many.
    """
    most = "any number" if op.max_experts is None else str(op.max_experts)
    if count < op.min_experts or (op.max_experts is not None and count > op.max_experts):
        beside = " beside the base" if op.needs_base else ""
        raise UserError(
            f"{op.name} merges {op.min_experts} to {most} models{beside}, but got {count}."
        )


def call(
    op: MergeOp, base: Tensor, experts: Sequence[Tensor], values: Mapping[str, Any]
) -> Tensor:
    """Call the method with parameters under their YAML names."""
    reserved = {"lambda": "lambda_"}
    return op.fn(base, experts, **{reserved.get(key, key): v for key, v in values.items()})
