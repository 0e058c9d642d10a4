"""The end of a study: confirm the best, compare on the test split, write everything down."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.recipe_text import recipe_text
from objectives.records import figures
from search.feasibility import value_of
from studies.budget import Limits
from studies.comparison import (
    FOUND,
    Row,
    ScoredRow,
    confirm_best,
    parent_rows,
    published_rows,
    rival_rows,
)
from studies.console import warn
from studies.disk import with_room
from studies.duration import seconds
from studies.findings import findings
from studies.fronts import FrontPoints, confirmed_front, front_results, write_front
from studies.guards import Guards
from studies.journal import GLOBAL, SEARCH, read_trials
from studies.metric_names import end_metrics
from studies.objectives_setup import ObjectiveSet
from studies.paths import CHOICES, DEPTH, HISTORY, RESULTS, TABLE
from studies.provenance import study_digest, with_commits
from studies.scorer import Scorer
from studies.search_loop import Search
from studies.setup import StudyFile
from studies.step_progress import StepProgress
from studies.tracking_summary import Summary
from studies.writing import with_provenance, write_study


def finished(study: StudyFile, identities: Mapping[str, str]) -> dict[str, Any] | None:
    """The results of a study that has ended, if its budget asks for no further trial.

    Reading them again costs no look at the test split. What ended by its time has ended for that
    budget; under another it may go on.
    """
    results = _written(study, identities)
    if results is None or results["budget"] == study.config.budget.model_dump(mode="json"):
        return results
    budget = study.config.budget
    limits = Limits(budget.trials, None, budget.items, budget.target, budget.patience)
    searches = [read_trials(study.out, name) for name in results["ended"]]
    return results if all(map(limits.reached, searches)) else None


def unchanged(
    study: StudyFile, identities: Mapping[str, str], own: Search, rival: Search | None
) -> dict[str, Any] | None:
    """The results that were written before, if no trial was added since; they stand."""
    results = _written(study, identities)
    return results if results and results["searched"] == _searched(own, rival) else None


def _searched(own: Search, rival: Search | None) -> dict[str, int]:
    """Trials by search."""
    searches = {SEARCH: own, **({GLOBAL: rival} if rival else {})}
    return {name: len(search.ledger.trials) for name, search in searches.items()}


def _written(study: StudyFile, identities: Mapping[str, str]) -> dict[str, Any] | None:
    """The results in the folder, if they are of this very file, but for its budget, and models."""
    path = study.out / RESULTS
    if not path.is_file():
        return None
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None  # damaged: written anew from the ledger
    same = results.get("settings") == study_digest(study, identities, whole=True)
    return results if same else None


def finish(
    study: StudyFile,
    objectives: ObjectiveSet,
    evaluator: Scorer,
    guards: Guards | None,
    own: Search,
    rival: Search | None,
) -> tuple[dict[str, Any], Summary]:
    """Choose the winner on the confirm split, score all rows on test, write results and pictures.

    Raises:
        UserError: no trial succeeded.
    """
    if not any(value_of(trial) is not None for trial in own.ledger.trials):
        raise UserError(
            f"{study.out}: no trial succeeded, so there is nothing to choose from; "
            "`mergetuna trials` shows why each failed."
        )
    count = study.config.confirm_top
    warn(f"{study.config.name}: scoring the best {count} again on the confirm split")
    title = f"{study.config.name}, confirm"
    finals = confirm_best(own.ledger.trials, own.space, evaluator, count, guards, title)
    winner = finals[0]
    rows, beside, theirs = _rows(study, objectives, evaluator, guards, rival)
    front = None
    if evaluator.front:
        names = {winner.trial.number: FOUND}
        front = confirmed_front(own, finals, evaluator.front, "front point", names)
        rows += front.rows(objectives.main)
    rows += [Row(FOUND, own.space.decode(winner.trial.params), objectives.main)]
    warn(f"{study.config.name}: scoring {len(rows)} rows on the test split")
    scored = _scored(f"{study.config.name}, test", rows, evaluator)
    results = findings(study, evaluator, guards, own, finals, scored)
    named = {row.name: row for row in scored}
    if front is not None:
        results["front"] = front_results(evaluator, front, theirs, named, beside)
    results["ended"] = {SEARCH: own.ended, **({GLOBAL: rival.ended} if rival else {})}
    results["searched"] = _searched(own, rival)
    recipe = own.space.decode(winner.trial.params)
    found = {"confirm": winner.confirm, "test": scored[-1].sets}
    recipe = with_commits(with_provenance(study, evaluator, recipe, results, found))

    def write() -> None:
        if front is not None:
            write_front(study, evaluator, front, named, results)
        write_study(study, evaluator, own, rival, recipe, results, found)

    with_room(write, study.out, seconds(study.config.runtime.disk_wait))
    table = (study.out / TABLE).read_text(encoding="utf-8")
    metrics = end_metrics(results["rows"][-1]["score"]["value"], figures(scored[-1].sets))
    text = recipe_text(recipe, study.out)
    pictures = [study.out / HISTORY, study.out / DEPTH, study.out / CHOICES]
    if not study.config.tracking.enabled:
        return results, Summary(text, table, metrics, pictures)
    page, drawn = _report(study)
    return results, Summary(text, table, metrics, [*pictures, *drawn], page)


def _report(study: StudyFile) -> tuple[Path | None, Sequence[Path]]:
    """The page and its pictures, for the tracker; whatever fails, the results are written."""
    from studies.report.page import write_report

    try:
        patience = seconds(study.config.runtime.disk_wait)
        written = with_room(lambda: write_report(study.out), study.out, patience)
    except Exception as error:  # hours of scoring must not end in the traceback of a chart
        warn(f"{study.config.name}: the report could not be written: {error!r}")
        return None, ()
    return written.page, written.pictures


def _rows(
    study: StudyFile,
    objectives: ObjectiveSet,
    evaluator: Scorer,
    guards: Guards | None,
    rival: Search | None,
) -> tuple[list[Row], list[Row], FrontPoints | None]:
    """Every row of the table but the study's own, those of parents, and the rival's front."""
    parents = parent_rows(study, objectives) + published_rows(study, objectives)
    if rival is None:
        return parents[:], parents, None
    count = study.config.confirm_top
    finals = confirm_best(rival.ledger.trials, rival.space, evaluator, count, guards)
    best = rival_rows(rival.ledger, rival.space, evaluator, finals, guards)
    rows = [Row(n, rival.space.decode(one.trial.params), objectives.main) for n, one in best]
    if not evaluator.front:
        return [*parents, *rows], parents, None
    names = {one.trial.number: name for name, one in best}
    theirs = confirmed_front(rival, finals, evaluator.front, "global front point", names)
    return [*parents, *rows, *theirs.rows(objectives.main)], parents, theirs


def _scored(title: str, rows: Sequence[Row], evaluator: Scorer) -> list[ScoredRow]:
    """Every row on the test split, one after the other."""
    found = []
    with StepProgress(title, "rows") as progress:
        for row in rows:
            scored = evaluator.score(row.recipe, "test", why=row.name, objectives=row.objectives)
            found.append(ScoredRow(row.name, scored.sets))
            progress.step(len(found), len(rows))
    return found
