"""`mergetuna methods`: the merge methods, their knobs and their sources."""

from typing import Annotated

import typer


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method in full.")] = None,
) -> None:
    """List the merge methods, or show one: its definition, knobs, options and paper."""
    import inspect

    from rich.table import Table

    from merge_ops.registry import all_ops, get_op
    from studies.console import say

    if name is None:
        table = Table("method", "knobs", "options", "models", "paper")
        for op in all_ops():
            most = "" if op.max_experts == op.min_experts else "+"
            models = f"{op.min_experts}{most}" + (" and a base" if op.needs_base else "")
            table.add_row(op.name, ", ".join(op.knobs), ", ".join(op.options), models, op.paper)
        say(table)
        return
    op = get_op(name)
    say(f"[bold]{op.name}[/bold]  {op.paper}\n\n{inspect.getdoc(op.fn)}\n")
    table = Table("parameter", "searched in", "default", "per expert")
    for key, knob in op.knobs.items():
        span = f"[{knob.low:g}, {knob.high:g}]" + (" (log)" if knob.log else "")
        table.add_row(key, span.replace("[", r"\["), f"{knob.default:g}", str(knob.per_expert))
    for key, value in op.options.items():
        table.add_row(key, "-", str(value).lower(), "False")
    say(table)
