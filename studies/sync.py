"""Filling in what MLflow lacks of a study, from the study's folder alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError, first_line
from merge_ops.recipe_yaml import read_recipe
from studies.changes import SETTINGS
from studies.journal import read_trials
from studies.particulars import Particulars, particulars, study_params
from studies.paths import RECIPE, RESULTS
from studies.secrets import reason_of, without_secrets
from studies.tracked_folder import settings_of, store_by, study_tags, summary_of
from studies.tracking_address import address_problem
from studies.tracking_store import ledger_tag
from studies.tracking_sync import Experiment, started


@dataclass(frozen=True, slots=True)
class Synced:
    """What was filled in.

    Attributes:
        uri: of the store, without a password.
        experiment: its name.
        trials: that the ledger holds.
        written: of these, how many the store lacked.
        summary: whether the study has ended, so that the run `summary` is up to date.
        without: what the runs that were written lack, and why; empty if nothing.
    """

    uri: str
    experiment: str
    trials: int
    written: int
    summary: bool
    without: str = ""


def sync(folder: Path, uri: str | None = None) -> Synced:
    """Mirror every trial that the store does not hold, and the summary of a study that has ended.

    Args:
        folder: the study's; nothing is written to it.
        uri: of the store, instead of the study's own.

    Raises:
        UserError: the folder is no study's, or the store does not take it.
    """
    trials, settings = read_trials(folder), settings_of(folder)
    store, name = store_by(folder, settings, uri), str(settings["name"])
    if (problem := address_problem(store)) is not None:
        raise UserError(problem)
    ledger = ledger_tag(trials)
    if ledger is None:
        return Synced(without_secrets(store), name, 0, 0, summary=False)
    found = summary_of(folder)
    lacking = ""
    try:
        experiment = Experiment(store, name, ledger, study_tags(settings))
        whole = experiment.count == len(trials) and not experiment.bare
        if not whole or (found is not None and not experiment.ended):
            told, lacking = _told(folder, settings)  # seconds, where nothing may be missing
            experiment = Experiment(store, name, ledger, study_tags(settings), told)
        before = experiment.count
        for trial in trials:
            experiment.write(trial)
        if found is not None:
            experiment.write_summary(found, started(trials[0]))
    except Exception as error:  # MLflow and its stores raise what they like
        raise UserError(
            f"{without_secrets(store)}: the trials could not be mirrored there: "
            f"{reason_of(error)}. What is there already stays; the same command goes on."
        ) from None
    written = experiment.count - before
    if experiment.refused:
        lacking = f"some recipes or inputs: {experiment.refused}"
    told_store = without_secrets(store)
    return Synced(told_store, name, len(trials), written, found is not None, lacking)


def _told(folder: Path, settings: Mapping[str, Any]) -> tuple[Particulars, str]:
    """The study's particulars, and what cannot be known of them, with the reason.

    The search space is made from the study file and the headers of the models, as the study made
    it; without them there are params alone.
    """
    try:
        return _particulars(folder), ""
    except Exception as error:  # models, files and libraries that are gone
        params = Particulars(params=study_params(settings))
        return params, f"recipes and inputs: {first_line(error)}"


def _particulars(folder: Path) -> Particulars:
    """The study's, from its file and the headers of its models.

    Raises:
        UserError: the file or a model is gone, or the file is not what the study began with.
    """
    from merge_ops.opening import open_models
    from studies.about import read_about
    from studies.changes import check_changes
    from studies.setup import read_study
    from studies.space_setup import make_space
    from studies.statistics import attach

    file = read_about(folder).get("file")
    if not isinstance(file, str):
        raise UserError(f"{folder}: it does not say where its study file lies")
    study = replace(read_study(folder / file), out=folder.absolute())
    check_changes(study, accept=True)
    study = attach(study)
    opened = open_models(study.template, [study.template.kept_from()])
    names = tuple(tensor.name for tensor in opened.tensors)
    space = make_space(study, opened.shared.layers, names)
    return particulars(study, space, _sums(folder))


def _sums(folder: Path) -> Mapping[str, str]:
    """Sha256 of the models by reference, as the found recipe has them; empty without one."""
    path = folder / RECIPE
    if not path.is_file():
        return {}
    found = read_recipe(path).provenance.get("models_sha256", {})
    return found if isinstance(found, dict) else {}


def mirror_report(folder: Path, page: Path, pictures: Sequence[Path]) -> str | None:
    """Put a report beside the results of a study that is tracked and has ended.

    Args:
        folder: the study's.
        page: the HTML file.
        pictures: its charts.

    Returns:
        What came of it, in words; None where the study is not tracked or has not ended.
    """
    if not (folder / RESULTS).is_file() or not (folder / SETTINGS).is_file():
        return None
    settings = settings_of(folder)
    ledger = ledger_tag(read_trials(folder))
    if ledger is None or not (settings.get("tracking") or {}).get("enabled", True):
        return None
    store, name = store_by(folder, settings), str(settings["name"])
    where = f"{without_secrets(store)}, experiment {name}"
    try:
        logged = Experiment(store, name, ledger, study_tags(settings)).write_report(page, pictures)
    except Exception as error:  # the report itself is written
        return f"not logged to {where}: {reason_of(error)}"
    return f"logged to {where}" if logged else f"not logged: {where} lacks it; `mergetuna sync`"
