"""How long a study will take: its candidates are timed, its work is counted, nothing is kept."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from merge_ops.expert_statistics import statistics_shapes
from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel
from merge_ops.rewriting import find_method
from merge_ops.solving import Solvable
from merge_ops.statistics_writer import new_statistics, total_bytes
from search.points import solutions
from search.samplers import make_proposer
from search.space import SearchSpace
from studies.comparison import published_rows
from studies.config import StatisticsConfig
from studies.engine_setup import make_engine
from studies.estimate import Estimate, Phase, estimate
from studies.evaluator import Evaluator
from studies.objectives_setup import ObjectiveSet
from studies.paths import STATISTICS
from studies.setup import StudyFile
from studies.space_setup import make_space
from studies.statistics import attach
from studies.statistics_collect import collect
from studies.statistics_plan import make_plan
from studies.tasks import objective_tasks
from studies.timing import Clock, time_candidates
from studies.work import plan_work

_LARGEST = 2**30  # bytes of statistics that are collected just to time them
_FEW, _MORE = 2, 6  # examples on which collecting is timed


def forecast(
    study: StudyFile,
    objectives: ObjectiveSet,
    resident: ResidentModel,
    known: Mapping[str, str],
    start: float,
    clock: Clock = time.perf_counter,
) -> Estimate:
    """Time candidates and add up what the study will do; writes nothing in its folder.

    Args:
        study: the checked file, its statistics attached if there are any.
        objectives: with their data.
        resident: the study's models.
        known: sha256 of the models.
        start: seconds that reading and loading took.
        clock: in seconds.

    Raises:
        UserError: a candidate does not fit the models.
        ObjectiveError: an example cannot be scored.
    """
    space = make_space(study, resident.layers, resident.merged_names)
    work = plan_work(study, objectives, space, accelerated=resident.device.type != "cpu")
    with TemporaryDirectory() as scratch:
        aside = _aside(study, Path(scratch))
        before = [Phase("start", start, "data and models read, models loaded")]
        before += _collecting(aside, resident, objectives, known, clock)
        aside = attach(aside)
        before += _solving(space, resident, clock)
        engine = make_engine(aside, aside.template.kept_from(), known)
        evaluator = Evaluator(
            resident,
            objectives.main,
            aside.out,
            known,
            objective_tasks(aside.config),
            engine,
            objectives.smooth,
        )
        recipes = _candidates(aside, objectives, resident)
        timings = time_candidates(evaluator, recipes, work.rows, clock)
    if find_method(study.template.method).traits.statistics and aside.template.statistics is None:
        text = "statistics are too large to be collected here: neither they nor their use is timed"
        work = replace(work, notes=[*work.notes, text])
    return estimate(work, timings, before)


def _aside(study: StudyFile, out: Path) -> StudyFile:
    """The same study in another folder, with no prompts on disk: they would be timed as known."""
    runtime = study.config.runtime.model_copy(update={"disk_cache_gb": 0.0})
    return replace(study, out=out, config=study.config.model_copy(update={"runtime": runtime}))


def _candidates(
    study: StudyFile, objectives: ObjectiveSet, resident: ResidentModel
) -> list[Recipe]:
    """The defaults and a random point; published merges where those would have to be solved.

    Once it is solved, a candidate of such a method costs as much as task arithmetic does.
    """
    lacks = find_method(study.template.method).traits.statistics and not study.template.statistics
    if lacks or any(op.traits.solve for op in study.methods()):
        return [row.recipe for row in published_rows(study, objectives)][:2]
    space = make_space(study, resident.layers, resident.merged_names)
    dimensions = space.dimensions()
    if not dimensions:
        return [space.decode({})]
    drawn = make_proposer("random", dimensions, study.config.seed).propose(())
    assert drawn is not None
    return [space.decode({d.name: d.default for d in dimensions}), space.decode(drawn.values)]


def _solving(space: SearchSpace, resident: ResidentModel, clock: Clock) -> list[Phase]:
    """Solve one task vector of each shape, and take the others to last as long."""
    recipes = solutions(space)
    if not recipes:
        return []
    taken: dict[tuple[int, ...], float] = {}
    counted: list[Solvable] = []

    def one_each(work: Sequence[Solvable]) -> Iterator[Solvable]:
        counted.extend(work)
        for one in work:
            if one.shape not in taken:
                start = clock()
                yield one
                taken[one.shape] = clock() - start

    resident.prepare(recipes, one_each)
    seconds = sum(taken[one.shape] for one in counted)
    how = f"{len(counted)} task vectors, timed on one of each of {len(taken)} shapes"
    return [Phase("solve", seconds, how)]


def _collecting(
    study: StudyFile,
    resident: ResidentModel,
    objectives: ObjectiveSet,
    known: Mapping[str, str],
    clock: Clock,
) -> list[Phase]:
    """Collect statistics of a few examples into the study's folder, here a temporary one."""
    op = find_method(study.template.method)
    if op.traits.statistics is None or study.template.statistics is not None:
        return []
    plan = make_plan(study, objectives.main, known)
    shapes = statistics_shapes(plan.op, resident.module, resident.parameters)
    if total_bytes(shapes, len(study.template.models)) > _LARGEST:
        return []
    taken = []
    for items in (_FEW, _MORE):
        start = clock()
        with new_statistics(study.out / STATISTICS, plan.header, shapes) as writer:
            some = replace(plan, items=items)
            collect(some, study.template, resident, writer, lambda _: None)
        taken.append(clock() - start)
    items = (study.config.statistics or StatisticsConfig()).items
    each = max(0.0, taken[1] - taken[0]) / (_MORE - _FEW)
    seconds = taken[0] + each * max(0, items - _FEW)
    how = f"statistics of {items} examples of each objective, timed on {_FEW} and {_MORE}"
    return [Phase("collect", seconds, how)]
