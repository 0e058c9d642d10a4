"""What a study has still to do, counted before it runs."""

from collections.abc import Sequence
from math import ceil

from search.dimension import Coordinate
from search.samplers import make_proposer, resolve_sampler
from search.space import SearchSpace
from studies.comparison import parent_rows, published_rows
from studies.duration import seconds
from studies.journal import GLOBAL, SEARCH, Journal, has_ledger, read_ledger
from studies.objectives_setup import ObjectiveSet
from studies.setup import StudyFile
from studies.space_setup import make_space
from studies.warm import first_points
from studies.workload import SearchWork, Work, count

_NAMES = {SEARCH: "search", GLOBAL: "without depth"}


def plan_work(
    study: StudyFile, objectives: ObjectiveSet, own: SearchSpace, *, accelerated: bool
) -> Work:
    """Count what the study will do, less what earlier runs have done.

    Args:
        study: the checked file.
        objectives: with their data.
        own: the space of its own search.
        accelerated: whether prompts may also be kept on the device.
    """
    config = study.config
    journal = journal_of(study)
    names = (SEARCH, GLOBAL) if config.compare and own.dimensions() else (SEARCH,)
    searches, confirm = [], 0
    for name in names:
        by_depth = name == SEARCH
        space = own if by_depth else make_space(study, own.layers, own.names, by_depth=False)
        work, points = _search_work(study, name, space, journal, objectives)
        searches.append(work)
        trials = config.confirm_top if work.trials is None else work.trials + work.finished
        confirm += min(config.confirm_top, trials)
        confirm += min(config.confirm_top, points, trials) if name == GLOBAL else 0
    known = [*parent_rows(study, objectives), *published_rows(study, objectives)]
    rows = [row.objectives for row in known]
    rows += [objectives.main] * (3 if len(names) > 1 else 1)  # the rival's two, and the found one
    runtime = config.runtime
    cache = runtime.cache_gb + runtime.disk_cache_gb
    if accelerated:
        cache += runtime.device_cache_gb
    timeout = None if config.budget.timeout is None else seconds(config.budget.timeout)
    return Work(
        main=objectives.main,
        searches=searches,
        confirm=confirm,
        rows=rows,
        cache=int(cache * 2**30),
        report=config.tracking.enabled,
        timeout=timeout,
        notes=_notes(study),
    )


def _search_work(
    study: StudyFile, name: str, space: SearchSpace, journal: Journal, objectives: ObjectiveSet
) -> tuple[SearchWork, int]:
    """One search, and how many first points it has."""
    finished = len(journal.searches.get(name, ()))
    budget, dimensions = study.config.budget, space.dimensions()
    limits = [] if budget.trials is None else [budget.trials]
    if budget.items is not None:
        limits.append(ceil(budget.items / count(objectives.main, "selection")))
    trials = min(limits, default=None) if dimensions else 1
    points = len(first_points(study, space))
    work = SearchWork(
        name=_NAMES[name],
        trials=None if trials is None else max(0, trials - finished),
        finished=finished,
        first_points=points,
        dimensions=len(dimensions),
        sampler=sampler_of(study, journal, name, dimensions, budget.trials),
    )
    return work, points


def sampler_of(
    study: StudyFile,
    journal: Journal,
    name: str,
    dimensions: Sequence[Coordinate],
    trials: int | None,
) -> str:
    """The sampler with which a search began, or would begin now."""
    begun = journal.samplers.get(name) if dimensions else None
    if begun:
        return begun
    aims = max(1, len(study.config.front_values()))
    with study.file.at("sampler"):
        name = resolve_sampler(study.config.sampler, dimensions, trials, aims)
        if dimensions and study.config.search.refine is None:
            make_proposer(name, dimensions, study.config.seed, trials, aims)  # which may not do
        return name


def journal_of(study: StudyFile) -> Journal:
    """What earlier runs left."""
    return read_ledger(study.out) if has_ledger(study.out) else Journal()


def _notes(study: StudyFile) -> list[str]:
    """What may make the study shorter."""
    budget, racing = study.config.budget, study.config.racing
    ends = [key for key in ("target", "patience") if getattr(budget, key) is not None]
    notes = [f"budget.{key} may end a search earlier" for key in ends]
    if racing.rule == "off":
        return [*notes, "racing is off: every trial is scored on all items"]
    return [
        *notes,
        f"racing ({racing.rule}) may stop trials early, so the searches take at most that",
    ]
