"""The `mergetuna` command. Each command's imports are its own, so that --help answers at once."""

import shlex
import sys

import typer

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from studies.commands.align import align
from studies.commands.baselines import baselines
from studies.commands.best import best
from studies.commands.convert import convert
from studies.commands.demo import demo
from studies.commands.eval import evaluate
from studies.commands.examples import EXIT_CODES, epilog
from studies.commands.export import export
from studies.commands.families import families
from studies.commands.init import init
from studies.commands.merge import merge
from studies.commands.methods import methods
from studies.commands.objectives import objectives
from studies.commands.report import report
from studies.commands.run import run
from studies.commands.samplers import samplers
from studies.commands.statistics import statistics
from studies.commands.status import status
from studies.commands.sync import sync
from studies.commands.trials import trials
from studies.commands.ui import ui
from studies.commands.validate import validate
from studies.commands.zoo import zoo
from studies.demo.zoo import ZooError
from studies.interruption import Stopped
from studies.path_errors import persons_mistake

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, epilog=EXIT_CODES)


@app.callback()
def _root() -> None:
    """Search for the best training-free merge of models, scored on the live model."""


GROUPS = {
    "Studies": (init, validate, run, status, trials, best, report, export, ui, sync, demo),
    "Models": (merge, evaluate, baselines, statistics, align, convert),
    "Lists": (families, methods, objectives, samplers),
}

for group, members in GROUPS.items():
    for command in members:
        name = "eval" if command is evaluate else command.__name__
        app.command(name, epilog=epilog(name), rich_help_panel=group)(command)
app.add_typer(zoo, name="zoo", rich_help_panel="Models")


def main() -> None:
    """Run the command line; a user's own mistake prints one line a problem and exits with 2."""
    try:
        app()
    except (UserError, ObjectiveError, ZooError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except OSError as error:
        said = persons_mistake(error, sys.argv[2:])
        if said is None:
            raise
        sys.stderr.write(f"{said}\n")
        sys.exit(2)
    except Stopped as stopped:  # typer itself sees to Ctrl-C outside of a study
        sys.stderr.write(f"Stopped.{_how_to_go_on(sys.argv)}\n")
        sys.exit(stopped.code)


def _how_to_go_on(argv: list[str]) -> str:
    if argv[1:2] not in (["run"], ["demo"]):
        return ""
    from studies.console import command_name

    again = shlex.join([command_name(), *argv[1:]])
    return f" No scored trial is lost; to go on from here: {again}"


if __name__ == "__main__":
    main()
