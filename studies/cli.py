"""The `mergetuna` command. Each command's imports are its own, so that --help answers at once."""

import sys

import typer

from merge_ops.errors import UserError
from studies.commands.merge import merge

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _root() -> None:
    """Search for the best training-free merge of models, scored on the live model."""


for command in (merge,):
    app.command()(command)


def main() -> None:
    """Run the command line; a user's own mistake prints one line a problem and exits with 2."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
