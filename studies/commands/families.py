"""`mergetuna families`: which kinds of model pair with a text model."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from merge_ops.survey import Finding


def families(
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Every multimodal model of transformers (a minute).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """List the families whose merges are tested, and how each pairs with its text model.

    Nothing is looked up: each model is built without weights from its default config, and paired
    as `mergetuna align` pairs models on disk.
    """
    from dataclasses import asdict

    import transformers
    from rich.markup import escape
    from rich.table import Table

    from merge_ops.decoder import layer_map
    from merge_ops.survey import TESTED, multimodal_kinds, survey
    from studies.console import quiet_transformers, say, say_json

    quiet_transformers()
    kinds = multimodal_kinds() if every else [k for k in TESTED if k in multimodal_kinds()]
    found = [survey(kind) for kind in kinds]
    if as_json:
        say_json([{**asdict(one), "tested": one.kind in TESTED} for one in found])
        return
    table = Table("family", "tested", "text model", "text layers -> its layers", "if not, why")
    for finding in found:
        tested = "yes" if finding.kind in TESTED else ""
        table.add_row(
            finding.kind,
            tested,
            finding.text,
            layer_map(list(enumerate(finding.partners))),
            _why(finding),
        )
    say(table)
    paired = sum(finding.pairs for finding in found)
    library = f"transformers {transformers.__version__}"
    say(escape(f"{paired} of {len(found)} pair; {library}, default configs"))
    if not every:
        say(
            "Others may pair by the same rules: --all tries every one; `mergetuna align` your own."
        )


def _text(finding: "Finding") -> str:
    """The text model, and whether it is one that transformers can run by itself."""
    return f"{finding.text} (decoder alone)" if finding.backbone else finding.text


def _why(finding: "Finding") -> str:
    """The reason in a cell, safe from rich's markup."""
    from rich.markup import escape

    return escape(finding.reason)
