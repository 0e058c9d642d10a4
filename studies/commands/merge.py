"""`mergetuna merge`: build the checkpoint that a recipe describes."""

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.completion import dtypes


def merge(  # noqa: PLR0913 (a command has as many options as it has)
    recipe: Annotated[Path, typer.Argument(help="recipe.yaml, or a mergekit configuration.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; must not exist.")],
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(help="Of the written weights; default: the recipe's.", autocompletion=dtypes),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Of a recipe with views (EMR), write this one; else what they share."),
    ] = None,
    shard_size: Annotated[
        str, typer.Option(help="Of the largest weight file: 5GB, 200MB ...")
    ] = "50GB",
    *,
    reward_code: Annotated[
        bool,
        typer.Option(
            "--reward-code",
            help="Of a reward model, write modeling_reward.py too, for one-line loading.",
        ),
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Spread the model over all GPUs and main memory.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write the merged model of RECIPE as a Hugging Face folder."""
    from rich.markup import escape

    from merge_ops.yaml_file import check_there

    check_there(recipe)
    from merge_ops.runtime import Runtime
    from merge_ops.view_files import MASKS_FILE
    from studies.console import say, say_json, warn
    from studies.export import build_checkpoint

    content, count = build_checkpoint(
        recipe,
        out,
        runtime=Runtime(device, shard=shard, report=warn),
        dtype=dtype,
        task=task,
        shard_size=shard_size,
        reward_code=reward_code,
        overwrite=overwrite,
    )
    if as_json:
        say_json({"folder": str(out), "method": content.method, "tensors": count})
        return
    say(f"{count} tensors merged by {content.method}; wrote {out}")
    if content.has_views():
        names = escape(", ".join(content.tasks))
        say(f"It is the unified model; {MASKS_FILE} holds the views of {names}.")
