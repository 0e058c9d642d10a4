"""`mergetuna run`: run a study, or go on with one that was stopped."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def run(  # noqa: PLR0913 (a command has as many options as it has)
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
    ship: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Send the study's files to nodes that lack some, to all, or to none."),
    ] = "auto",
    *,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="Go on although budget, tracking, name ... have changed."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json_log: Annotated[
        bool, typer.Option("--json-log", help="Print one JSON object per line and event.")
    ] = False,
) -> None:
    """Search, confirm, compare: from STUDY to recipe.yaml. Run it again to go on or to re-read.

    Ctrl-C or SIGTERM lets the running block finish; once more stops at once (exit code 130, 143).
    Exit code 1: no candidate holds the guards; the one that breaks them least is written.
    """
    from studies.mistaken import check_study_file
    from studies.run_events import tell_end, told, voice_of
    from studies.voice import event

    with told(voice_of(quiet=quiet, json_log=json_log)):
        check_study_file(study)
        from studies.budget_options import overridden
        from studies.results import show_results
        from studies.setup import read_study

        checked = read_study(study)
        budget = overridden(checked.config.budget, timeout, trials)
        event("start", {"study": checked.config.name, "folder": str(checked.out)})
        from studies.run import run_study  # seconds, which a mistake in the file need not wait for
        from studies.workers.setup import Crew

        crew = None
        if workers is not None or ray_address is not None:
            crew = Crew(workers, ray_address, gpus_per_worker, ship)
        results = run_study(checked, budget=budget, accept_changes=accept_changes, crew=crew)
        tell_end(results, checked.out)
        show_results(results, checked.out)
    if not results["winner"].get("feasible", True):
        raise typer.Exit(1)
