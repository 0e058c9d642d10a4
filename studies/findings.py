"""What an ended study found, as plain data: the content of `results.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from search.feasibility import feasible, value_of
from search.samplers import ONLY
from search.selection import Confirmed
from studies.about import read_about
from studies.comparison import ScoredRow, beside_lines, describe
from studies.evaluator import count_test_reads
from studies.guards import Guards
from studies.pictures import rows_over_depth
from studies.provenance import runtime_facts, study_digest
from studies.proxy import rank_agreement
from studies.racing import saved
from studies.refine_setup import refined
from studies.scorer import Scorer
from studies.search_loop import Search
from studies.setup import StudyFile
from studies.shortcuts import read_shortcuts
from studies.shrunken import shrunken
from studies.trial_facts import guards_of


def findings(
    study: StudyFile,
    evaluator: Scorer,
    guards: Guards | None,
    own: Search,
    finals: Sequence[Confirmed],
    scored: Sequence[ScoredRow],
) -> dict[str, Any]:
    """All figures of the study as plain data."""
    winner = finals[0]
    believed = shrunken(read_about(study.out), own.ledger.trials)
    failed = [t for t in own.ledger.trials if value_of(t) is None]
    finalists = [_finalist(own, one, believed) for one in finals]
    return {
        "study": study.config.name,
        "settings": study_digest(study, evaluator.identities, whole=True),
        "budget": study.config.budget.model_dump(mode="json"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sampler": study.config.sampler if own.space.dimensions() else ONLY,
        "seed": study.config.seed,
        "tasks": dict(evaluator.tasks),
        "trials": len(own.ledger.trials),
        "failed_trials": len(failed),
        "feasible_trials": sum(t not in failed and feasible(t) for t in own.ledger.trials),
        "refined": refined(own.ledger.trials, own.space),
        "racing": {"rule": study.config.racing.rule, **saved(own.ledger.trials)},
        "winner": {
            "trial": winner.trial.number,
            "digest": winner.trial.user_attrs["digest"],
            **finalists[0],
        },
        "finalists": finalists,
        "guards": {g.objective: str(g) for g in guards.guards} if guards else {},
        "coefficients": {
            knob: rows_over_depth(own.space, knob, winner.trial.params)
            for knob in own.space.ranges
        },
        "rows": describe(scored, scored[-1]),
        "beside": beside_lines(evaluator.objectives, "test"),
        "smooth": sorted(evaluator.smooth),
        "proxy": _proxy(evaluator, own),
        "self_check": read_shortcuts(study.out),
        "average_seeds": study.config.search.average_seeds or 1,
        "test_reads": count_test_reads(study.out),
        "runtime": runtime_facts(study, str(evaluator.resident.device)),
    }


def _finalist(own: Search, one: Confirmed, believed: Mapping[int, float]) -> dict[str, Any]:
    """What is said of a trial that was scored again on confirm."""
    return {
        "trial": one.trial.number,
        "selection": one.selection,
        "shrunken": believed.get(one.trial.number),
        "confirm": one.value(),
        "choices": _chosen(own, one),
        **_guarded(one),
    }


def _proxy(evaluator: Scorer, own: Search) -> dict[str, Any] | None:
    """How the search signal ranks candidates, where it is not the metric itself."""
    if not evaluator.smooth:
        return None
    return rank_agreement(own.ledger.trials, {o.name: o.weight for o in evaluator.objectives})


def _guarded(one: Confirmed) -> dict[str, Any]:
    """How a finalist stands to each guard, on selection and on confirm; nothing without guards."""
    if not one.guards:
        return {}
    return {
        "feasible": one.violation() == 0,
        "guards": {
            name: {"selection": dict(guards_of(one.trial)[name]), "confirm": asdict(found)}
            for name, found in one.guards.items()
        },
    }


def _chosen(own: Search, one: Confirmed) -> dict[str, Any]:
    """The values of what was searched over a list."""
    return {name: one.trial.params[name] for name in own.space.lists()}
