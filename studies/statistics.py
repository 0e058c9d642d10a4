"""The statistics of a study: collected once, kept in its folder, named by every candidate."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from merge_ops.errors import UserError
from merge_ops.expert_statistics import statistics_shapes
from merge_ops.recipe import StatisticsRef
from merge_ops.resident import ResidentModel
from merge_ops.rewriting import find_method
from merge_ops.statistics_file import file_sha256, read_header
from merge_ops.statistics_writer import new_statistics, total_bytes
from objectives.objective import Objective
from studies.console import warn
from studies.disk import with_room
from studies.duration import seconds
from studies.model_setup import load_models
from studies.objectives_setup import make_objectives
from studies.owner import sole_writer
from studies.paths import STATISTICS
from studies.setup import StudyFile, identities
from studies.statistics_collect import collect
from studies.statistics_plan import StatisticsPlan, make_plan

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def collect_statistics(study: StudyFile) -> StatisticsRef:
    """Collect a study's statistics, unless they are there; returns the file and its sha256.

    Raises:
        UserError: the method takes none, or those that are there are of other settings.
        ObjectiveError: data that cannot be read.
    """
    if find_method(study.template.method).traits.statistics is None:
        text = f"method: {study.config.method} takes no statistics"
        raise study.file.error([(("method",), text)])
    with sole_writer(study.out):
        known = identities(study)
        objectives = make_objectives(study.config, study.folder)
        attached = attach(study)
        if attached.template.statistics is None:
            attached = with_statistics(study, load_models(study), objectives.main, known)
        else:
            _check(attached, make_plan(study, objectives.main, known))
    assert attached.template.statistics is not None
    return attached.template.statistics


def attach(study: StudyFile) -> StudyFile:
    """The study whose candidates name the statistics in its folder, if there are any."""
    path = study.out / STATISTICS
    if find_method(study.template.method).traits.statistics is None or not path.is_file():
        return study
    ref = StatisticsRef(str(path.resolve()), file_sha256(path))
    return replace(study, template=replace(study.template, statistics=ref))


def with_statistics(
    study: StudyFile,
    resident: ResidentModel,
    objectives: Sequence[Objective],
    known: Mapping[str, str],
) -> StudyFile:
    """The study with its statistics, which are collected if they are not there.

    Args:
        study: the checked file, attached or not.
        resident: the study's models.
        objectives: the study's.
        known: sha256 of the models.

    Raises:
        UserError: the statistics in the study's folder are of other settings or no such file.
        ObjectiveError: an example cannot be read.
    """
    if find_method(study.template.method).traits.statistics is None:
        return study
    plan = make_plan(study, objectives, known)
    if study.template.statistics is not None:
        _check(study, plan)
        return study
    _collect(study, plan, resident)
    return attach(study)


def _collect(study: StudyFile, plan: StatisticsPlan, resident: ResidentModel) -> None:
    path, experts = study.out / STATISTICS, len(study.template.models)
    shapes = statistics_shapes(plan.op, resident.module, resident.parameters)
    size = total_bytes(shapes, experts)
    warn(
        f"{study.config.name}: collecting statistics for {plan.op.name}: {len(shapes)} tensors "
        f"of each of {experts} experts, {_words(size)}, to {path}"
    )
    study.out.mkdir(parents=True, exist_ok=True)
    whole = shutil.disk_usage(study.out).total
    if size > whole:
        raise UserError(
            f"{path}: the statistics need {_words(size)}, but its whole disk has {_words(whole)}; "
            "exclude more tensors, or choose another `out` folder."
        )
    for left in study.out.glob(f".{STATISTICS}.*"):  # by a process that was killed
        left.unlink()
    wait = seconds(study.config.runtime.disk_wait)
    room = partial(with_room, folder=study.out, patience=wait)

    def note(text: str) -> None:
        warn(f"{study.config.name}: statistics: {text}")

    with new_statistics(path, plan.header, shapes, room) as writer:
        collect(plan, study.template, resident, writer, note)


def _check(study: StudyFile, plan: StatisticsPlan) -> None:
    """Statistics that are there must be those that the study asks for."""
    path = study.out / STATISTICS
    try:
        header = read_header(path)
    except ValueError as error:
        raise UserError(f"{path}: {error}; delete it to collect anew.") from None
    ours, theirs = plan.header.model_dump(), header.model_dump()
    ours |= ours.pop("collected")
    theirs |= theirs.pop("collected")
    differ = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if differ:
        raise UserError(
            f"{path}: these statistics were collected with other settings ({', '.join(differ)}); "
            "undo the change, delete the file to collect anew, or choose another `out` folder."
        )


def _words(size: float) -> str:
    """Bytes in words: 38.2 MB."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"
