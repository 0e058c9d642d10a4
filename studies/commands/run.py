"""`mergetuna run`: run a study, or go on with one that was stopped."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    study: Annotated[Path, typer.Argument(help="The study file; `mergetuna init` writes one.")],
    timeout: Annotated[
        str | None, typer.Option(help="Of this run, instead of budget.timeout: 90s, 30m, 8h, 1d.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="In all, instead of budget.trials.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Score on so many workers, one GPU each; needs the extra ray."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    gpus_per_worker: Annotated[
        int, typer.Option(min=1, help="Spread each worker's model over so many GPUs.")
    ] = 1,
    *,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="Go on although budget, tracking, name ... have changed."
        ),
    ] = False,
) -> None:
    """Search, confirm, compare: from STUDY to recipe.yaml. Run it again to go on or to re-read.

    Ctrl-C or SIGTERM lets the running trial finish; once more stops at once (exit code 130, 143).
    Exit code 1: no candidate holds the guards; the one that breaks them least is written.
    """
    from studies.budget_options import overridden
    from studies.results import show_results
    from studies.run import run_study
    from studies.setup import read_study
    from studies.workers.setup import Crew

    checked = read_study(study)
    budget = overridden(checked.config.budget, timeout, trials)
    crew = None
    if workers is not None or ray_address is not None:
        crew = Crew(workers, ray_address, gpus_per_worker)
    results = run_study(checked, budget=budget, accept_changes=accept_changes, crew=crew)
    show_results(results, checked.out)
    if not results["winner"].get("feasible", True):
        raise typer.Exit(1)
