"""`mergetuna convert`: a checkpoint in an old layout, in the one that the other commands read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from merge_ops.old_layouts.conversion import Converted


def convert(
    source: Annotated[str, typer.Argument(help="Folder or hub id of the old checkpoint.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new one; must not exist.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub id to take the tokenizer from, if SOURCE's is remote code."
        ),
    ] = None,
    *,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read pickled weights, and nothing else in them."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Rewrite a remote-code InternVL or InternLM2, ModelCompose's adapters or pickled weights."""
    from merge_ops.old_layouts.conversion import convert as run
    from studies.console import quiet_transformers
    from studies.step_progress import StepProgress

    quiet_transformers()
    with StepProgress(f"converting {source}", "tensors") as progress:
        converted = run(
            source,
            out,
            allow_pickle=allow_pickle,
            tokenizer=tokenizer,
            overwrite=overwrite,
            step=progress.step,
        )
    _show(source, out, converted, as_json=as_json)


def _show(source: str, out: Path, converted: "Converted", *, as_json: bool) -> None:
    """The result, on standard output."""
    import json
    import sys

    from rich.markup import escape

    from studies.console import say

    if as_json:
        content = {
            "source": source,
            "out": str(out),
            "layout": converted.layout.kind,
            "tensors": converted.tensors,
            "bytes": converted.bytes,
            "notes": converted.notes,
        }
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
        return
    say(escape(f"{source} was {converted.layout.name}"))
    for note in converted.notes:
        say(escape(f"note: {note}"))
    size = f"{converted.bytes / 1e9:.3g} GB"
    say(escape(f"{converted.tensors} tensors ({size}) converted; wrote {out}"))
