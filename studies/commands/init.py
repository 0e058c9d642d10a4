"""`mergetuna init`: a commented study file to start from."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("study.yaml"),
) -> None:
    """Write a commented study file; it will not replace one that exists."""
    from merge_ops.atomic import write_text
    from merge_ops.errors import UserError
    from studies.console import say

    if path.exists():
        raise UserError(f"{path} exists; choose another name.")
    template = Path(__file__).parents[1] / "templates" / "study.yaml"
    write_text(path, template.read_text(encoding="utf-8"))
    say(f"Wrote {path}. Fill in the models and data, then: mergetuna validate {path}")
