"""`mergetuna merge`: build the checkpoint that a recipe describes."""

from pathlib import Path
from typing import Annotated

import typer


def merge(
    recipe: Annotated[Path, typer.Argument(help="recipe.yaml, or a mergekit configuration.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; must not exist.")],
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None, typer.Option(help="Of the written weights; default: the recipe's.")
    ] = None,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Write the merged model of RECIPE as a Hugging Face folder."""
    import dataclasses

    from merge_ops.errors import UserError
    from merge_ops.loading import DTYPES
    from merge_ops.recipe_yaml import read_recipe
    from merge_ops.residency import Runtime, load_resident
    from studies.console import say
    from studies.export import export

    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}.")
    content = read_recipe(recipe)
    if dtype is not None:
        content = dataclasses.replace(content, out_dtype=dtype)
    resident = load_resident(content, Runtime(device))
    resident.become(content)
    export(resident, content, out, overwrite=overwrite)
    say(f"{len(resident.merged_names)} tensors merged by {content.method}; wrote {out}")
