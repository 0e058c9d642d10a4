"""Merge one tensor: the public function, and the code that the engine calls for each tensor."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_type_hints

from torch import Tensor

from merge_ops.errors import UserError, did_you_mean
from merge_ops.masks import Draw
from merge_ops.option_types import accepts, describe
from merge_ops.registry import MergeOp, call, check_experts, get_op


def merge_tensor(method: str, base: Tensor, experts: Sequence[Tensor], **params: Any) -> Tensor:
    """Merge `experts` into `base` with one of the registered methods.

    Args:
        method: a name that `merge_ops.registry.all_ops` knows, such as "ties".
        base: theta_0, any shape. Methods without a base take only its shape and dtype.
        experts: theta_i, each of the base's shape, dtype and device.
        **params: the method's parameters by their YAML names; per-expert ones as one number for
            all or a list with one per expert. `lambda` is a Python keyword: write
            `**{"lambda": 0.5}`. Random methods also take `seed` (default 0) and `name`; methods
            with statistics take a list with one tensor per expert.

    Returns:
        The merged parameter (the base plus what the method adds), in the base's shape and dtype.
        No input is changed.

    Raises:
        UserError: an unknown method or parameter, or numbers that do not fit the experts.
    """
    op = get_op(method)
    draw = Draw(int(params.pop("seed", 0)), str(params.pop("name", "")))
    return merge_with(op, base, experts, params, draw)


def merge_with(
    op: MergeOp, base: Tensor, experts: Sequence[Tensor], params: Mapping[str, Any], draw: Draw
) -> Tensor:
    """Check the parameters of one call and make it; see `merge_tensor`."""
    check_experts(op, len(experts))
    for expert in experts:
        if expert.shape != base.shape:
            raise UserError(
                f"an expert must have the base's shape {tuple(base.shape)}, "
                f"but has {tuple(expert.shape)}."
            )
    values = checked(op, params, len(experts))
    if op.random:
        values["draw"] = draw
    return call(op, base, experts, values)


def checked(op: MergeOp, params: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The parameters, checked; per-expert knobs that are missing take their default."""
    values: dict[str, Any] = {}
    for name, value in params.items():
        if name in op.knobs:
            values[name] = _numbers(op, name, value, count)
        elif name in op.options:
            values[name] = _option(op, name, value)
        elif name == op.traits.statistics:
            values[name] = value
        else:
            hint = did_you_mean(name, op.parameters())
            raise UserError(f"{op.name} has no parameter {name!r}{hint}")
    for name, knob in op.knobs.items():
        if knob.per_expert and name not in values:
            values[name] = [knob.default] * count
    return values


def _option(op: MergeOp, name: str, value: Any) -> Any:
    """The value itself, if it is of the type that the method's signature gives."""
    hint = _hints(op.fn)[name]
    if not accepts(hint, value):
        raise UserError(f"{op.name}: {name} must be {describe(hint)}, but got {value!r}.")
    return value


@cache
def _hints(fn: Callable[..., Tensor]) -> dict[str, Any]:
    return get_type_hints(fn)


def _numbers(op: MergeOp, name: str, value: Any, count: int) -> float | list[float]:
    """One number, or one per expert, as the knob says."""
    many = isinstance(value, (list, tuple))
    numbers = list(value) if many else [value]
    if not all(isinstance(v, (int, float)) for v in numbers):
        raise UserError(f"{op.name}: {name} must be a number, but got {value!r}.")
    if not op.knobs[name].per_expert:
        if many:
            raise UserError(f"{op.name}: {name} takes one number, but got {numbers}.")
        return float(value)
    if many and len(numbers) != count:
        raise UserError(
            f"{op.name}: {name} takes one number per expert ({count}), but got {numbers}."
        )
    return [float(v) for v in (numbers if many else numbers * count)]
