"""`mergetuna statistics`: collect what RegMean and Fisher merging need, and nothing else."""

from pathlib import Path
from typing import Annotated

import typer


def statistics(
    study: Annotated[Path, typer.Argument(help="A study file whose method takes statistics.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Collect the statistics of STUDY's experts; `mergetuna run` does so by itself."""
    from studies.console import say, say_json
    from studies.setup import read_study
    from studies.statistics import collect_statistics

    ref = collect_statistics(read_study(study))
    if as_json:
        say_json({"path": ref.path, "sha256": ref.sha256})
        return
    say(f"{ref.path}\nsha256: {ref.sha256}")
