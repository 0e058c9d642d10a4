"""Who scores a study's candidates: a live model in this process, or workers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from studies.duration import seconds
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.model_setup import load_models
from studies.objectives_setup import ObjectiveSet
from studies.preparation import prepare
from studies.setup import StudyFile
from studies.shortcuts import check_shortcuts, checked
from studies.statistics import with_statistics
from studies.tasks import objective_tasks
from studies.workers.points import points_left
from studies.workers.remote import RemoteEvaluator
from studies.workers.setup import Crew, remote_evaluator


@contextmanager
def opened(
    study: StudyFile, objectives: ObjectiveSet, known: Mapping[str, str], crew: Crew | None
) -> Iterator[tuple[StudyFile, Evaluator | RemoteEvaluator]]:
    """The study with its statistics, and who scores it: a live model here, or workers."""
    if crew is not None or points_left(study.out):
        with remote_evaluator(study, crew, objectives, known) as remote:
            check_shortcuts(study.out, remote.scheduler.workers.check)
            yield study, remote
        return
    resident = load_models(study)
    study = with_statistics(study, resident, objectives.main, known)
    prepare(study, resident)
    engine = make_engine(study, study.template.kept_from(), known)
    evaluator = Evaluator(
        resident,
        objectives.main,
        study.out,
        known,
        objective_tasks(study.config),
        engine,
        objectives.smooth,
        study.config.front_values(),
        disk_wait=seconds(study.config.runtime.disk_wait),
    )
    check_shortcuts(study.out, partial(checked, evaluator))
    yield study, evaluator
