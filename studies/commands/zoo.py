"""`mergetuna zoo`: the embedded models."""

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.examples import epilog

zoo = typer.Typer(help="The embedded models of the demo.", no_args_is_help=True)


@zoo.command(epilog=epilog("build"))
def build(
    out: Annotated[Path, typer.Option(help="Folder of the models.")],
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
) -> None:
    """Train the zoo anew, on the CPU, in a few minutes."""
    from studies.console import say
    from studies.demo.build import build_zoo

    build_zoo(out, seed, say)


@zoo.command(epilog=epilog("verify"))
def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="A zoo; the shipped one if left out.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check every file of a zoo against its manifest."""
    from studies.console import say, say_json
    from studies.demo.zoo import MODELS_FOLDER, read_manifest, verify_manifest

    chosen = folder or MODELS_FOLDER
    verify_manifest(chosen)
    if as_json:
        say_json({"folder": str(chosen), "files": read_manifest(chosen)["files"]})
        return
    say(f"every file of {chosen} is as its manifest says")
