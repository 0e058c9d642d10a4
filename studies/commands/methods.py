"""`mergetuna methods`: the merge methods, their knobs and their sources."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.commands.completion import method_names

if TYPE_CHECKING:
    from merge_ops.knobs import Knob
    from merge_ops.registry import MergeOp
    from merge_ops.rewriting import Rewrite


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="Show one method in full.", autocompletion=method_names),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the merge methods, or show one: its definition, knobs, options and paper."""
    import inspect

    from rich.table import Table

    from merge_ops.rewriting import Rewrite, all_methods, find_method
    from studies.console import say, say_json

    if as_json:
        chosen = all_methods() if name is None else [find_method(name)]
        say_json([_plain(op) for op in chosen])
        return
    if name is None:
        table = Table("method", "knobs", "options", "models", "paper")
        for op in all_methods():
            models = _models(op)
            table.add_row(op.name, ", ".join(op.knobs), ", ".join(op.options), models, op.paper)
        say(table)
        return
    op = find_method(name)
    say(f"[bold]{op.name}[/bold]  {op.paper}\n\n{inspect.getdoc(op.fn)}\n")
    table = Table("parameter", "searched in", "default", "per expert")
    for key, knob in op.knobs.items():
        required = isinstance(op, Rewrite) and key in op.required
        default = "none" if required else f"{knob.default:g}"
        table.add_row(key, _span(knob), default, str(knob.per_expert))
    for key, value in op.options.items():
        table.add_row(key, "-", str(value).lower(), "False")
    say(table)


def _plain(op: "MergeOp | Rewrite") -> dict[str, Any]:
    """A method as plain data."""
    from dataclasses import asdict

    return {
        "method": op.name,
        "paper": op.paper,
        "knobs": {key: asdict(knob) for key, knob in op.knobs.items()},
        "options": dict(op.options),
        "needs_base": op.needs_base,
        "experts": [op.min_experts, op.max_experts],
    }


def _models(op: "MergeOp | Rewrite") -> str:
    """How many models it merges, in words."""
    most = "" if op.max_experts == op.min_experts else "+"
    beside = getattr(op, "beside_target", False)
    base = " and a base" if op.needs_base else " and the target" if beside else ""
    return f"{op.min_experts}{most}{base}"


def _span(knob: "Knob") -> str:
    """The interval that is searched, safe from rich's markup."""
    if knob.whole:
        return f"layers, {knob.low:g} to the last"
    return rf"\[{knob.low:g}, {knob.high:g}]" + (" (log)" if knob.log else "")
