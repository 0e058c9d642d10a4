"""One study from its file to its results: search, confirm, compare, write down."""

import time
from dataclasses import replace
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import value_of
from search.samplers import ONLY, make_proposer, resolve_sampler
from studies.about import read_about, write_about
from studies.budget import Limits
from studies.changes import check_changes, keep_settings
from studies.config import Budget
from studies.console import warn
from studies.disk import with_room
from studies.duration import seconds
from studies.evaluator import Evaluator
from studies.finish import finish, finished, unchanged
from studies.foresight import foresee
from studies.guards import Guards, make_guards
from studies.half_scored import END, HalfScored, Part
from studies.interruption import Interruption
from studies.journal import GLOBAL, SEARCH
from studies.ledger import Ledger
from studies.ledger_store import open_store
from studies.mirrored import Mirrored
from studies.model_setup import prepare_runtime
from studies.objectives_setup import make_objectives
from studies.opening import opened
from studies.owner import sole_writer
from studies.parent_scores import ParentScores
from studies.particulars import particulars
from studies.progress import Progress
from studies.provenance import study_digest
from studies.racer_setup import make_racer
from studies.refine_setup import make_refiner
from studies.scorer import Scorer
from studies.search_loop import Search, SearchPlan, run_search
from studies.setup import StudyFile, identities
from studies.space_setup import announce, make_space
from studies.splits_file import claim_splits
from studies.statistics import attach
from studies.storage_setup import address_of
from studies.warm import first_points
from studies.workers.coordinator import coordinate
from studies.workers.remote import RemoteEvaluator
from studies.workers.setup import Crew


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
            HalfScored(study.out, END).forget()  # a process may have died just before it could
            return done
        if crew is None:
            prepare_runtime(study)  # a device that is not there is told before data is read
        objectives = make_objectives(study.config, study.folder)
        wait = seconds(study.config.runtime.disk_wait)
        room = partial(with_room, folder=study.out, patience=wait)
        room(partial(claim_splits, study.out, objectives.data))
        open_store(study.out, address_of(study), wait)  # before models are loaded for minutes
        for line in foresee(objectives.main, study.config.budget.trials, study.config.confirm_top):
            warn(line)
        with (
            opened(study, objectives, known, crew) as (study, evaluator),
            Mirrored(study) as mirror,
        ):
            room(partial(write_about, study, objectives.main, evaluator.resident.layers))
            room(partial(keep_settings, as_filed))
            begun = time.monotonic()
            guards = _guards(study, evaluator)
            own = _search(study, evaluator, guards, SEARCH, begun, interruption, mirror)
            compare = study.config.compare and own.space.dimensions()
            rival = None
            if compare:
                rival = _search(study, evaluator, guards, GLOBAL, begun, interruption, None)
                rival = _with_trials(rival)
            end = HalfScored(study.out, END)
            if isinstance(evaluator, Evaluator):
                kept: Evaluator | RemoteEvaluator = replace(
                    evaluator, parts=partial(Part, blocks=end, before_block=_go_on)
                )
            else:
                kept = replace(evaluator, kept=end)
            results = unchanged(study, known, own, rival)
            if results is None:
                results, mirror.summary = finish(study, objectives, kept, guards, own, rival)
            else:
                warn(f"{study.out}: no trial was added; its results stand.")
            end.forget()
        return results


def _go_on() -> None:
    """At the end of a study a signal stops at once, so that there is nothing to look for."""


def _limits(study: StudyFile, name: str, begun: float, trials: int | None) -> Limits:
    """The budget of one search; of the time, the search by depth leaves its rival half."""
    budget, deadline = study.config.budget, None
    if budget.timeout is not None:
        shared = name == SEARCH and study.config.compare
        deadline = begun + seconds(budget.timeout) / (2 if shared else 1)
    return Limits(trials, deadline, budget.items, budget.target, budget.patience)


def _with_trials(rival: Search) -> Search | None:
    """The rival, unless no time was left for it."""
    if any(value_of(trial) is not None for trial in rival.ledger.trials):
        return rival
    warn(f"the search without depth has no scored trial and is left out: {rival.ended}")
    return None


def _guards(study: StudyFile, evaluator: Scorer) -> Guards | None:
    """The study's guards, with a word where their examples are too few."""
    guards = make_guards(study, ParentScores(evaluator))
    for line in guards.warnings() if guards else ():
        warn(f"{study.config.name}: {line}")
    return guards


def _search(
    study: StudyFile,
    evaluator: Evaluator | RemoteEvaluator,
    guards: Guards | None,
    name: str,
    begun: float,
    interruption: Interruption,
    mirror: Mirrored | None,
) -> Search:
    """Run one of the study's two searches to the end of its budget."""
    config = study.config
    resident = evaluator.resident
    space = make_space(study, resident.layers, resident.merged_names, by_depth=name == SEARCH)
    dimensions = space.dimensions()
    trials = config.budget.trials
    aims = max(1, len(evaluator.front))
    workers = evaluator.workers if isinstance(evaluator, RemoteEvaluator) else 1
    with study.file.at("sampler"):
        sampler = resolve_sampler(config.sampler, dimensions, trials, aims, workers=workers)
    wait, address = seconds(config.runtime.disk_wait), address_of(study)
    ledger = Ledger(study.out, name, dimensions, disk_wait=wait, objectives=aims, address=address)
    ledger.claim(study_digest(study, evaluator.identities))
    if not dimensions:
        trials, sampler = 1, ONLY
        warn(f"{config.name}: {config.method} has no knob to search: one candidate, one trial.")
    else:
        sampler = ledger.keep_sampler(sampler)
    if dimensions and name == SEARCH:
        announce(config, space, sampler, workers)
    refine = config.search.refine if name == SEARCH and dimensions else None
    with study.file.at("sampler") if refine is None else study.file.at("search", "refine"):
        proposer = (
            make_proposer(sampler, dimensions, config.seed, trials, aims)
            if refine is None
            else make_refiner(config, refine, space, sampler, evaluator)
        )
    plan = SearchPlan(
        space=space,
        warm=first_points(study, space),
        proposer=proposer,
        sampler=sampler,
        racer=make_racer(study, evaluator),
        guards=guards,
        seeds=config.search.average_seeds or 1,
    )
    title = f"{config.name}, {name} ({len(dimensions)} dimensions, {sampler})"
    limits = _limits(study, name, begun, trials)
    with Progress(name, title, ledger.trials, limits, read_about(study.out)) as progress:

        def on_trial(trial: FrozenTrial) -> None:
            progress.on_trial(trial)
            if mirror is not None:
                mirror.on_trial(ledger.trials)

        if mirror is not None:
            mirror.describe(particulars(study, space, evaluator.identities))
            mirror.on_trial(ledger.trials)
        if isinstance(evaluator, Evaluator):
            ended = run_search(plan, ledger, evaluator, limits, interruption, on_trial)
        else:
            ended = coordinate(plan, ledger, evaluator, limits, interruption, on_trial)
    warn(f"{config.name}, {name}: ended by {ended}")
    return Search(space, ledger, ended)
