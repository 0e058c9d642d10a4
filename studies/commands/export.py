"""`mergetuna export`: a finished study as one folder, to keep or to share."""

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.completion import dtypes


def export(  # noqa: PLR0913 (a command has as many options as it has)
    folder: Annotated[Path, typer.Argument(help="A finished study's folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    push: Annotated[
        str | None, typer.Option(help="Then upload it to this repository of the hub: owner/name.")
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(help="Then register it under this name in the MLflow store of the study."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(help="Of the written weights; default: the recipe's.", autocompletion=dtypes),
    ] = None,
    shard_size: Annotated[
        str, typer.Option(help="Of the largest weight file: 5GB, 200MB ...")
    ] = "50GB",
    *,
    reward_code: Annotated[
        bool, typer.Option("--reward-code", help="As of `mergetuna merge`.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write checkpoint, recipe, report and lineage of the study in FOLDER as one folder.

    Nothing leaves this machine without --push or --register; a repository that the former creates
    is private. --register makes a version of the model in MLflow's registry, made by the run
    `summary`.
    """
    from studies.console import say, say_json
    from studies.registering import bring_up_to_date, check_name, store_shown
    from studies.registering import register as registered
    from studies.release import check_repository, check_token, release
    from studies.release import push as upload

    if push is not None:
        check_repository(push)
        check_token()
    if register is not None:
        check_name(register)
        bring_up_to_date(folder)
    release(
        folder,
        out,
        device=device,
        dtype=dtype,
        shard_size=shard_size,
        reward_code=reward_code,
        overwrite=overwrite,
    )
    if not as_json:
        say(f"wrote {out}: checkpoint, recipe.yaml, report.html, lineage.json")
    address = None if push is None else upload(out, push)
    version = None if register is None else registered(folder, out, register)
    if as_json:
        say_json({"folder": str(out), "uploaded_to": address, "registered_as": version})
        return
    if address is not None:
        say(f"uploaded to {address}")
    if version is not None:
        say(f"registered as {version}; to load it:")
        load = f'mlflow.transformers.load_model({version!r}, return_type="components")'
        say(f"  mlflow.set_tracking_uri({store_shown(folder)!r}); {load}")
