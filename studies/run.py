"""One study from its file to its results: search, confirm, compare, write down."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial

from search.samplers import ONLY, make_proposer, resolve_sampler
from studies.about import write_about
from studies.budget import Limits
from studies.changes import check_changes, keep_settings
from studies.config import Budget, seconds
from studies.console import warn
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.finish import finish, finished
from studies.foresight import foresee
from studies.interruption import Interruption
from studies.ledger import GLOBAL, SEARCH, Ledger
from studies.objectives_setup import ObjectiveSet, make_objectives
from studies.owner import sole_writer
from studies.preparation import prepare
from studies.progress import Progress
from studies.provenance import study_digest
from studies.racing import Racer
from studies.scorer import Scorer
from studies.search_loop import Search, SearchPlan, run_search
from studies.setup import StudyFile, identities, load_models
from studies.space_setup import announce, make_space
from studies.splits_file import claim_splits
from studies.statistics import attach, with_statistics
from studies.tasks import objective_tasks
from studies.tracking import Mirror, Summary, tracking_uri
from studies.warm import first_points
from studies.workers.coordinator import coordinate
from studies.workers.points import points_left
from studies.workers.remote import RemoteEvaluator
from studies.workers.setup import Crew, remote_evaluator

_PATIENCE, _HASTE = 60.0, 10.0
"""Seconds that the tracker may take to catch up at the end of a finished or a stopped study."""


def run_study(
    study: StudyFile,
    *,
    budget: Budget | None = None,
    accept_changes: bool = False,
    crew: Crew | None = None,
) -> dict[str, Any]:
    """Run, resume or re-read a study; returns its results, which also lie in `results.json`.

    Args:
        study: the checked file.
        budget: another than the file's, for this run.
        accept_changes: go on although keys that alter no trial have changed.
        crew: workers that score, instead of one live model in this process.

    Raises:
        Stopped: by SIGINT or SIGTERM, after the running block of items.
        UserError: models, data or ledger that do not fit the file, or another running process.
        ObjectiveError: data that cannot be scored.
    """
    with Interruption() as interruption, sole_writer(study.out):
        check_changes(study, accept=accept_changes)
        as_filed = study
        if budget is not None:
            study = replace(study, config=study.config.model_copy(update={"budget": budget}))
        known = identities(study)
        study = attach(study)
        done = finished(study, known)
        if done is not None:
            warn(f"{study.out}: this study has ended; these are its results.")
            return done
        objectives = make_objectives(study.config, study.folder)
        claim_splits(study.out, objectives.data)
        for line in foresee(objectives.main, study.config.budget.trials, study.config.confirm_top):
            warn(line)
        with (
            _opened(study, objectives, known, crew) as (study, evaluator),
            _Mirrored(study) as mirror,
        ):
            write_about(study, objectives.main, evaluator.resident.layers)
            keep_settings(as_filed)
            begun = time.monotonic()
            own = _search(study, evaluator, SEARCH, begun, interruption, mirror)
            compare = study.config.compare and own.space.dimensions()
            rival = None
            if compare:
                rival = _search(study, evaluator, GLOBAL, begun, interruption, None)
                rival = _with_trials(rival)
            results, mirror.summary = finish(study, objectives, evaluator, own, rival)
        return results


@contextmanager
def _opened(
    study: StudyFile, objectives: ObjectiveSet, known: Mapping[str, str], crew: Crew | None
) -> Iterator[tuple[StudyFile, Evaluator | RemoteEvaluator]]:
    """The study with its statistics, and who scores it: a live model here, or workers."""
    if crew is not None or points_left(study.out):
        with remote_evaluator(study, crew, objectives, known) as remote:
            yield study, remote
        return
    resident = load_models(study)
    study = with_statistics(study, resident, objectives.main, known)
    prepare(study, resident)
    engine = make_engine(study, study.template.kept_from(), known)
    tasks = objective_tasks(study.config)
    yield (
        study,
        Evaluator(resident, objectives.main, study.out, known, tasks, engine, objectives.smooth),
    )


class _Mirrored:
    """The tracker of one run, or nothing where tracking is off.

    Attributes:
        summary: set when the study is finished; mirrored at the end.
    """

    def __init__(self, study: StudyFile) -> None:
        self.summary: Summary | None = None
        self._trials: Sequence[FrozenTrial] = ()
        self._mirror: Mirror | None = None
        if study.config.tracking.enabled:
            uri = tracking_uri(study.config.tracking.uri, study.out.parent)
            tags = {"study": study.config.name, "sampler": study.config.sampler}
            self._mirror = Mirror(uri, study.config.name, lambda: self._trials, tags)

    def __enter__(self) -> "_Mirrored":
        if self._mirror is not None:
            self._mirror.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the tracker a while to catch up, even where the study was stopped."""
        if self._mirror is None:
            return
        status = self._mirror.finish(_PATIENCE if self.summary else _HASTE, self.summary)
        if not status.complete:
            warn(f"tracking: {status}")

    def on_trial(self, trials: Sequence[FrozenTrial]) -> None:
        """Let the tracker know of new trials."""
        self._trials = trials
        if self._mirror is not None:
            self._mirror.notify()


def _limits(study: StudyFile, name: str, begun: float, trials: int | None) -> Limits:
    """The budget of one search; of the time, the search by depth leaves its rival half."""
    budget, deadline = study.config.budget, None
    if budget.timeout is not None:
        shared = name == SEARCH and study.config.compare
        deadline = begun + seconds(budget.timeout) / (2 if shared else 1)
    return Limits(trials, deadline, budget.items, budget.target, budget.patience)


def _with_trials(rival: Search) -> Search | None:
    """The rival, unless no time was left for it."""
    if any(trial.value is not None for trial in rival.ledger.trials):
        return rival
    warn(f"the search without depth has no scored trial and is left out: {rival.ended}")
    return None


def _racer(study: StudyFile, evaluator: Scorer) -> Racer | None:
    """Stops candidates early, if the study asks for it and its candidates are one model each."""
    racing = study.config.racing
    if racing.rule == "off":
        return None
    blocks = evaluator.blocks("selection")
    whole = any(block.runs is not None for block in blocks)
    if study.template.has_views() or whole or evaluator.smooth or len(blocks) < 2:
        why = (
            "a candidate is several views of one recipe"
            if study.template.has_views()
            else "the search follows a smooth signal, whose items have no score of their own"
            if evaluator.smooth
            else "an objective scores all its items at once"
            if whole
            else f"all items are one block of {racing.block}; choose a smaller racing.block"
        )
        warn(f"{study.config.name}: nothing is raced: {why}.")
        return None
    top = racing.top or study.config.confirm_top
    return Racer(evaluator.objectives, blocks, racing.rule, racing.alpha, top)


def _search(
    study: StudyFile,
    evaluator: Evaluator | RemoteEvaluator,
    name: str,
    begun: float,
    interruption: Interruption,
    mirror: _Mirrored | None,
) -> Search:
    """Run one of the study's two searches to the end of its budget."""
    config = study.config
    resident = evaluator.resident
    space = make_space(study, resident.layers, resident.merged_names, by_depth=name == SEARCH)
    dimensions = space.dimensions()
    trials = config.budget.trials
    workers = evaluator.workers if isinstance(evaluator, RemoteEvaluator) else 1
    sampler = resolve_sampler(config.sampler, dimensions, trials, workers=workers)
    if not dimensions:
        trials, sampler = 1, ONLY
        warn(f"{config.name}: {config.method} has no knob to search: one candidate, one trial.")
    elif name == SEARCH:
        announce(config, space, sampler)
    ledger = Ledger(study.out, name, dimensions, disk_wait=seconds(config.runtime.disk_wait))
    ledger.claim(study_digest(study, evaluator.identities))
    plan = SearchPlan(
        space=space,
        warm=first_points(study, space),
        proposer=make_proposer(sampler, dimensions, config.seed, trials),
        sampler=sampler,
        racer=_racer(study, evaluator),
    )
    title = f"{config.name}, {name} ({len(dimensions)} dimensions, {sampler})"
    with Progress(title, ledger.trials, trials) as progress:

        def on_trial(trial: FrozenTrial) -> None:
            progress.on_trial(trial)
            if mirror is not None:
                mirror.on_trial(ledger.trials)

        if mirror is not None:
            mirror.on_trial(ledger.trials)
        limits = _limits(study, name, begun, trials)
        if isinstance(evaluator, Evaluator):
            ended = run_search(plan, ledger, evaluator, limits, interruption, on_trial)
        else:
            ended = coordinate(plan, ledger, evaluator, limits, interruption, on_trial)
    warn(f"{config.name}, {name}: ended by {ended}")
    return Search(space, ledger, ended)
