"""The end of a study: confirm the best, compare on the test split, write everything down."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from merge_ops.recipe import Recipe
from merge_ops.recipe_yaml import recipe_text, write_recipe
from objectives.objective import Objective
from objectives.records import SPLITS, ScoreSet, combined, figures
from search.selection import Confirmed
from search.space import SearchSpace
from studies.comparison import (
    FOUND,
    Row,
    ScoredRow,
    confirm_best,
    describe,
    parent_rows,
    published_rows,
    rival_rows,
)
from studies.console import warn
from studies.evaluator import Evaluator, count_test_reads
from studies.ledger import Ledger
from studies.objectives_setup import ObjectiveSet
from studies.paths import DEPTH, HISTORY, RECIPE, RESULTS, SCORES, SPLIT_FILE, TABLE
from studies.pictures import draw_depth, draw_history
from studies.provenance import runtime_facts, versions
from studies.setup import StudyFile
from studies.table import markdown_table
from studies.tracking import Summary


@dataclass(frozen=True, slots=True)
class Search:
    """One finished search."""

    space: SearchSpace
    ledger: Ledger


def finish(
    study: StudyFile,
    objectives: ObjectiveSet,
    evaluator: Evaluator,
    own: Search,
    rival: Search | None,
) -> tuple[dict[str, Any], Summary]:
    """Choose the winner on the confirm split, score all rows on test, write results and pictures.

    Raises:
        UserError: no trial succeeded.
    """
    if not any(trial.value is not None for trial in own.ledger.trials):
        raise UserError(
            f"{study.out}: no trial succeeded, so there is nothing to choose from; "
            "`mergetuna trials` shows why each failed."
        )
    count = study.config.confirm_top
    warn(f"{study.config.name}: scoring the best {count} again on the confirm split")
    finals = confirm_best(own.ledger.trials, own.space, evaluator, count)
    winner = finals[0]
    rows = _rows(study, objectives, evaluator, own, winner, rival)
    warn(f"{study.config.name}: scoring {len(rows)} rows on the test split")
    scored = [_score(row, evaluator) for row in rows]
    found = {"confirm": winner.confirm, "test": scored[-1].sets}
    write_text(study.out / SCORES, json.dumps(_by_id(found)) + "\n")
    results = _results(study, evaluator, own, finals, scored)
    recipe = _recipe(study, own.space.decode(winner.trial.params), results)
    _write(study, evaluator, own, rival, recipe, results)
    table = (study.out / TABLE).read_text(encoding="utf-8")
    metrics = {"test": results["rows"][-1]["score"]["value"]} | {
        f"test/{key}": value for key, value in figures(scored[-1].sets).items()
    }
    pictures = [study.out / HISTORY, study.out / DEPTH]
    return results, Summary(recipe_text(recipe, study.out), table, metrics, pictures)


def _rows(
    study: StudyFile,
    objectives: ObjectiveSet,
    evaluator: Evaluator,
    own: Search,
    winner: Confirmed,
    rival: Search | None,
) -> list[Row]:
    """Every row of the table, in its order; the found recipe stands last."""
    rows = parent_rows(study, objectives) + published_rows(study, objectives)
    if rival is not None:
        count = study.config.confirm_top
        rows += [
            Row(name, rival.space.decode(best.trial.params), objectives.main)
            for name, best in rival_rows(rival.ledger, rival.space, evaluator, count)
        ]
    return [*rows, Row(FOUND, own.space.decode(winner.trial.params), objectives.main)]


def _score(row: Row, evaluator: Evaluator) -> ScoredRow:
    scored = evaluator.score(row.recipe, "test", why=row.name, objectives=row.objectives)
    return ScoredRow(row.name, scored.sets)


def _results(
    study: StudyFile,
    evaluator: Evaluator,
    own: Search,
    finals: Sequence[Confirmed],
    scored: Sequence[ScoredRow],
) -> dict[str, Any]:
    """All figures of the study as plain data."""
    winner = finals[0]
    failed = [t for t in own.ledger.trials if t.value is None]
    return {
        "study": study.config.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sampler": study.config.sampler,
        "seed": study.config.seed,
        "trials": len(own.ledger.trials),
        "failed_trials": len(failed),
        "winner": {
            "trial": winner.trial.number,
            "digest": winner.trial.user_attrs["digest"],
            "selection": winner.selection,
            "confirm": winner.value(),
        },
        "finalists": [
            {"trial": f.trial.number, "selection": f.selection, "confirm": f.value()}
            for f in finals
        ],
        "rows": describe(scored, scored[-1], asdict),
        "test_reads": count_test_reads(study.out),
        "runtime": runtime_facts(study, str(evaluator.resident.device)),
    }


def _recipe(study: StudyFile, recipe: Recipe, results: Mapping[str, Any]) -> Recipe:
    """The winner with its provenance."""
    winner, found = results["winner"], results["rows"][-1]
    objective = {
        o.name: {
            "kind": o.kind,
            "weight": o.weight,
            "average": o.average,
            "n": found["objectives"][o.name]["n"],
        }
        for o in study.config.objectives
    }
    provenance = {
        "study": study.config.name,
        "trial": winner["trial"],
        "digest": winner["digest"],
        "created": results["created"],
        "versions": versions(),
        "runtime": results["runtime"],
        "objective": objective,
        "selection": {"score": winner["selection"]},
        "confirm": {"score": winner["confirm"]},
        "test": {"score": found["score"], "reads": results["test_reads"]},
    }
    return replace(recipe, provenance=provenance)


def _write(
    study: StudyFile,
    evaluator: Evaluator,
    own: Search,
    rival: Search | None,
    recipe: Recipe,
    results: Mapping[str, Any],
) -> None:
    """results.json, results.md, splits.json, recipe.yaml and the pictures."""
    sums = {ref: evaluator.identities[ref] for ref in recipe.references()}
    recipe = replace(recipe, provenance={**recipe.provenance, "models_sha256": sums})
    write_recipe(recipe, study.out / RECIPE)
    write_text(study.out / RESULTS, json.dumps(results, indent=1) + "\n")
    write_text(study.out / TABLE, markdown_table(results["rows"]))
    write_text(study.out / SPLIT_FILE, json.dumps(_splits(evaluator.objectives), indent=1) + "\n")
    searches = {f"by depth ({len(own.space.dimensions())} dimensions)": own.ledger.trials}
    if rival is not None:
        title = f"without depth ({len(rival.space.dimensions())} dimensions)"
        searches[title] = rival.ledger.trials
    draw_history(searches, _lines(study, evaluator), study.out / HISTORY)
    values = own.ledger.trials[results["winner"]["trial"]].params
    draw_depth(own.space, values, study.out / DEPTH, "found recipe")


def _lines(study: StudyFile, evaluator: Evaluator) -> dict[str, float]:
    """Selection scores of the parents, for the picture of the search."""
    rows = parent_rows(study, ObjectiveSet(evaluator.objectives, (), {}))
    return {
        row.name: combined(evaluator.score(row.recipe, "selection").sets)
        for row in rows
        if row.objectives
    }


def _by_id(
    splits: Mapping[str, Sequence[ScoreSet]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Per-example scores by split, objective and id."""
    return {
        split: {s.objective: {score.id: score.value for score in s.scores} for s in sets}
        for split, sets in splits.items()
    }


def _splits(objectives: Sequence[Objective]) -> dict[str, dict[str, list[str]]]:
    """Ids of the examples by objective and split, in the order of the stored scores."""
    return {
        o.name: {split: [example.id for example in o.examples(split)] for split in SPLITS}
        for o in objectives
    }
