"""Names to merge methods: every module of merge_ops/methods registers the functions it holds."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from merge_ops.errors import UserError, did_you_mean
from merge_ops.knobs import Knob
from merge_ops.traits import Law, Traits

__all__ = [
    "Knob",
    "MergeOp",
    "Value",
    "all_ops",
    "call",
    "check_experts",
    "get_op",
    "keywords",
    "merge_op",
]

Value = bool | float | str
"""What a parameter of a method may be, once resolved for one tensor (and one expert)."""


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
        traits: what else it promises or wants.
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
    traits: Traits = field(default_factory=Traits)

    def parameters(self) -> list[str]:
        """Every name that a recipe may set, sorted."""
        return sorted([*self.knobs, *self.options])

    def keeps(self, law: Law) -> bool:
        """Whether the method obeys `law`; if not, `traits.breaks` says why."""
        return law not in self.traits.breaks


_OPS: dict[str, MergeOp] = {}
F = TypeVar("F", bound=Callable[..., Tensor])


def merge_op(
    *,
    paper: str,
    needs_base: bool = True,
    min_experts: int = 1,
    max_experts: int | None = None,
    traits: Traits | None = None,
    name: str | None = None,
) -> Callable[[F], F]:
    """Register the decorated function; the function itself is unchanged.

    Its name in recipes is `name`, or else the function's own.

    Keyword-only parameters annotated with a `Knob` become searchable; the rest are options, but
    for `draw` and the one that takes statistics. A trailing underscore is dropped from names
    (`lambda_` is `lambda` in YAML).
    """
    promised = traits or Traits()

    def register(fn: F) -> F:
        known = name or fn.__name__
        if known in _OPS:
            raise ValueError(f"The merge method {known!r} is already registered.")
        knobs, options, random = _signature(fn, promised.statistics)
        _OPS[known] = MergeOp(
            name=known,
            fn=fn,
            knobs=knobs,
            options=options,
            paper=paper,
            needs_base=needs_base,
            random=random,
            min_experts=min_experts,
            max_experts=max_experts,
            traits=promised,
        )
        return fn

    return register


def _signature(
    fn: Callable[..., Tensor], statistics: str | None
) -> tuple[dict[str, Knob], dict[str, Value], bool]:
    """Knobs, options, and whether the function draws random numbers."""
    hints = get_type_hints(fn, include_extras=True)
    knobs: dict[str, Knob] = {}
    options: dict[str, Value] = {}
    named = inspect.signature(fn).parameters.values()
    for parameter in named:
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if not keyword or parameter.name in ("draw", statistics):
            continue
        name, hint = parameter.name.removesuffix("_"), hints[parameter.name]
        if get_origin(hint) is Annotated:
            knobs[name] = _knob(name, get_args(hint)[1], parameter.default)
        else:
            options[name] = parameter.default
    return knobs, options, any(parameter.name == "draw" for parameter in named)


def _knob(name: str, knob: Knob, default: Any) -> Knob:
    """The knob with its default, which a function states if it takes one value for all."""
    if knob.per_expert == (default is not inspect.Parameter.empty):
        raise ValueError(f"{name}: a knob has a default in the signature, or one per expert.")
    known = knob if knob.per_expert else replace(knob, default=default)
    if not known.low <= known.default <= known.high:
        raise ValueError(f"{name}: `low <= default <= high` must hold, but got {known}.")
    return known


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
        UserError: there is none of that name; the closest is named. Or it is a rewrite.
    """
    _discover()
    if name not in _OPS:
        from merge_ops.rewriting import all_rewrites

        rewrites = [rewrite.name for rewrite in all_rewrites()]
        if name in rewrites:
            raise UserError(
                f"{name} rewrites a whole recipe: it says which tensors take which weights of "
                "`linear`, so it cannot merge one tensor alone; put it into a recipe's "
                "merge_method, or merge the tensor with 'linear'."
            )
        known = sorted([*_OPS, *rewrites])
        hint = did_you_mean(name, known)
        raise UserError(f"unknown merge method {name!r}{hint or '.'} Known: {', '.join(known)}.")
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
    """Call the method with parameters under their YAML names; an empty tensor stays as it is."""
    if base.numel() == 0:
        return base.clone()
    with torch.no_grad():
        return op.fn(base, experts, **keywords(values))


def keywords(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by their names in Python rather than in YAML."""
    reserved = {"lambda": "lambda_"}
    return {reserved.get(key, key): value for key, value in values.items()}
