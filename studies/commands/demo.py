"""`mergetuna demo`: two real studies on the embedded models."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder of models, data and results.")] = Path(
        "runs/demo"
    ),
    trials: Annotated[int, typer.Option(min=1, help="Of each search.")] = 120,
    seed: Annotated[int, typer.Option(help="Of the searches.")] = 0,
    zoo: Annotated[
        Path | None, typer.Option(help="Models made by `mergetuna zoo build`; else the shipped.")
    ] = None,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    json_log: Annotated[
        bool, typer.Option("--json-log", help="Print one JSON object per line and event.")
    ] = False,
) -> None:
    """Merge reasoning, then a reward model, into the embedded vision-language model."""
    from studies.console import command_name, say, warn
    from studies.demo.stage import stage_demo
    from studies.demo.zoo import MODELS_FOLDER
    from studies.export import build_checkpoint
    from studies.paths import RECIPE
    from studies.results import show_results
    from studies.run import run_study
    from studies.run_events import tell_end, told, voice_of
    from studies.setup import read_study
    from studies.voice import event

    with told(voice_of(quiet=quiet, json_log=json_log)):
        files = stage_demo(out, trials, seed, zoo or MODELS_FOLDER)
        for path in files:
            study = read_study(path)
            event("start", {"study": study.config.name, "folder": str(study.out)})
            results = run_study(study)
            tell_end(results, study.out)
            show_results(results, study.out)
            checkpoint = study.out / "checkpoint"
            build_checkpoint(study.out / RECIPE, checkpoint, overwrite=True)
            warn(f"written     {checkpoint}")
    if quiet or json_log:
        return
    say()
    say(f"Everything lies in {out}: study files, data, models, one folder per study.")
    say(f"Three skills in one, a view for each: {command_name()} run {out / 'skills.yaml'}")
    say(f"In MLflow: {command_name()} ui {out / 'reasoning'}")
