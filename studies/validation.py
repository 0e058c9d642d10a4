"""Checking a study without running it: models, data, memory, time; nothing is written."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from merge_ops.errors import UserError
from merge_ops.plan import Plan
from merge_ops.runtime import Runtime
from objectives.errors import ObjectiveError
from objectives.records import SPLITS
from studies.changes import check_changes
from studies.estimate import Estimate
from studies.finish import finished
from studies.forecast import forecast
from studies.foresight import foresee
from studies.holder import holder
from studies.model_checks import ModelCheck, check_models
from studies.model_places import at_models
from studies.model_setup import load_models, prepare_runtime
from studies.objectives_setup import ObjectiveSet, make_objectives
from studies.search_checks import check_search
from studies.secrets import without_secrets
from studies.setup import StudyFile, identities
from studies.splits_file import check_splits
from studies.statistics import attach
from studies.storage_setup import address_of
from studies.timing import Clock
from studies.tracking_address import address_problem, silent, tracking_uri
from studies.work import journal_of

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Validation:
    """What came of checking a study.

    Attributes:
        study: its name.
        file: where it stands.
        out: its folder, which may not exist yet.
        state: of that folder, in words.
        models: how they pair, a line each.
        data: examples by objective and split.
        foresight: what these can tell, a line each.
        search: dimensions, sampler and trials; empty where the models are not known.
        memory: where everything will lie.
        estimate: how long it will take; None if that was not asked for, or cannot be told.
        warnings: what should be looked at.
        problems: what keeps the study from running.
    """

    study: str
    file: str
    out: str
    state: str
    models: tuple[str, ...]
    data: Mapping[str, Mapping[str, int]]
    foresight: tuple[str, ...]
    search: Mapping[str, Any]
    memory: tuple[Plan, ...]
    estimate: Estimate | None
    warnings: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the study would run."""
        return not self.problems

    def record(self) -> dict[str, Any]:
        """The same as plain data."""
        found = {
            name: getattr(self, name)
            for name in ("study", "file", "out", "state", "data", "search")
        }
        found |= {name: list(getattr(self, name)) for name in ("models", "foresight", "warnings")}
        time_ = None
        if self.estimate is not None:
            time_ = {
                "seconds": self.estimate.seconds,
                "phases": [asdict(phase) for phase in self.estimate.phases],
                "notes": list(self.estimate.notes),
            }
        memory = [plan.record() for plan in self.memory]
        checked = {"ok": self.ok, "problems": list(self.problems)}
        return {**checked, **found, "memory": memory, "estimate": time_}


def validate_study(
    study: StudyFile, *, quick: bool = False, clock: Clock = time.perf_counter
) -> Validation:
    """Check a study file against its models, data, folder and device, and time some candidates.

    Args:
        study: the checked file.
        quick: read headers and data alone; no model is loaded, and no time told.
        clock: in seconds, for the timing.
    """
    problems: list[str] = []

    def tried(check: Callable[[], Found]) -> Found | None:
        try:
            return check()
        except (UserError, ObjectiveError) as error:
            problems.append(str(error))
            return None

    begun = clock()
    tried(lambda: check_changes(study, accept=False))
    objectives = tried(lambda: make_objectives(study.config, study.folder))
    if objectives is not None:
        data = objectives.data
        tried(lambda: check_splits(study.out, data))
    runtime = tried(lambda: prepare_runtime(study))
    models = tried(lambda: _models(study, runtime))
    search = None if models is None else tried(lambda: check_search(study, models, quick=quick))
    state, told = tried(lambda: _state(study)) or "cannot be told", None
    if not quick and not problems and objectives is not None:
        told = tried(lambda: _forecast(study, objectives, begun, clock))
    config = study.config
    return Validation(
        study=config.name,
        file=str(study.file.path),
        out=str(study.out),
        state=state,
        models=() if models is None else models.lines,
        data={} if objectives is None else _sizes(objectives),
        foresight=()
        if objectives is None
        else tuple(foresee(objectives.main, config.budget.trials, config.confirm_top)),
        search={} if search is None else search.facts,
        memory=() if models is None else models.memory,
        estimate=told,
        warnings=(
            *(() if models is None else models.warnings),
            *(() if search is None else search.warnings),
            *_tracker(study),
        ),
        problems=tuple(problems),
    )


def _tracker(study: StudyFile) -> list[str]:
    """A word where trials would be mirrored to a store that does not answer now."""
    if not study.config.tracking.enabled:
        return []
    uri = tracking_uri(study.config.tracking.uri, study.out.parent)
    reason = address_problem(uri) or silent(uri)
    if reason is None:
        return []
    shown = without_secrets(uri)
    return [
        f"tracking: {shown} does not answer ({reason}); the study runs all the same, and "
        f"`mergetuna sync {study.out}` fills in its trials later"
    ]


def _forecast(
    study: StudyFile, objectives: ObjectiveSet, begun: float, clock: Clock
) -> Estimate | None:
    """Load the models and time candidates; None where the study has ended."""
    known = identities(study)
    study = attach(study)
    if finished(study, known) is not None:
        return None
    resident = load_models(study, report=lambda _: None)  # the plan is among what is told
    return forecast(study, objectives, resident, known, clock() - begun, clock)


def _models(study: StudyFile, runtime: Runtime | None) -> ModelCheck:
    with at_models(study):
        return check_models(study, runtime)


def _sizes(objectives: ObjectiveSet) -> dict[str, dict[str, int]]:
    """Examples by objective and split."""
    return {o.name: {s: len(o.examples(s)) for s in SPLITS} for o in objectives.main}


def _state(study: StudyFile) -> str:
    """Whether the study's folder is new, begun, or in use just now.

    Raises:
        UserError: its trials lie, or shall lie, in a storage that cannot be reached.
    """
    if (address := address_of(study)) is not None:
        from studies.storage import probe

        probe(address)
    if holder(study.out) is not None:
        return "is running just now"
    trials = sum(map(len, journal_of(study).searches.values()))
    if trials:
        return f"has begun, {trials} trials are finished"
    return "will be begun"
