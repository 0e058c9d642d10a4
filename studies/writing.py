"""What a finished study leaves in its folder: results, recipe, scores, splits, pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.recipe import Recipe
from merge_ops.recipe_text import write_recipe
from objectives.records import ScoreSet, combined
from objectives.statistics import interval
from search.samplers import ONLY
from studies.comparison import parent_rows
from studies.objectives_setup import ObjectiveSet
from studies.paths import CHOICES, DEPTH, EVALUATION, HISTORY, RECIPE, RESULTS, SCORES, TABLE
from studies.pictures import draw_choices, draw_depth, draw_history
from studies.provenance import versions, vocabulary_note
from studies.scorer import Scorer
from studies.search_loop import Search
from studies.seed_average import seeds_of
from studies.setup import StudyFile
from studies.table import chosen, markdown_table


def with_provenance(
    study: StudyFile,
    evaluator: Scorer,
    recipe: Recipe,
    results: Mapping[str, Any],
    found: Mapping[str, Sequence[ScoreSet]],
) -> Recipe:
    """The winner with its provenance; `found` are its per-example scores by split."""
    winner, row = results["winner"], results["rows"][-1]
    objective = {
        o.name: {
            "kind": o.kind,
            "weight": o.weight,
            "average": o.average,
            "n": row["objectives"][o.name]["n"],
            **({} if o.task is None else {"task": o.task}),
        }
        for o in study.config.objectives
    }
    provenance = {
        **recipe.provenance,
        "study": study.config.name,
        "trial": winner["trial"],
        "digest": winner["digest"],
        "created": results["created"],
        "versions": versions(),
        "models_sha256": {ref: evaluator.identities[ref] for ref in recipe.references()},
        "runtime": results["runtime"],
        **vocabulary_note(evaluator.resident),
        "objective": objective,
        "selection": {"score": winner["selection"], **_seeds(study, recipe)},
        "confirm": _with_intervals(found["confirm"]),
        "test": {**_with_intervals(found["test"]), "reads": results["test_reads"]},
    }
    return replace(recipe, provenance=provenance)


def _seeds(study: StudyFile, recipe: Recipe) -> dict[str, list[int]]:
    """The seeds over which the selection score is a mean; the recipe has the first."""
    count = study.config.search.average_seeds
    return {} if count is None else {"mean_over_seeds": seeds_of(recipe, count)}


def _with_intervals(sets: Sequence[ScoreSet]) -> dict[str, Any]:
    """The combined score and each objective's, with their 95 % intervals."""
    objectives = {s.objective: asdict(interval([s])) for s in sets}
    return {"score": asdict(interval(sets)), "objectives": objectives}


def write_study(
    study: StudyFile,
    evaluator: Scorer,
    own: Search,
    rival: Search | None,
    recipe: Recipe,
    results: Mapping[str, Any],
    found: Mapping[str, Sequence[ScoreSet]],
) -> None:
    """Write results, table, scores, batches, recipe and pictures into the study's folder.

    Args:
        study: whose folder it is.
        evaluator: gives the parents' scores, for a picture.
        own: the study's search.
        rival: the search without depth, if there was one.
        recipe: the winner.
        results: all figures.
        found: the winner's per-example scores by split.
    """
    write_recipe(recipe, study.out / RECIPE)
    write_text(study.out / SCORES, json.dumps(_by_id(found)) + "\n")
    write_text(study.out / EVALUATION, json.dumps(evaluator.plan_record(), indent=1) + "\n")
    write_text(study.out / TABLE, markdown_table(results["rows"]))
    title = f"by depth ({len(own.space.dimensions())} dimensions)"
    searches = {title if own.space.dimensions() else ONLY: own.ledger.trials}
    if rival is not None:
        title = f"without depth ({len(rival.space.dimensions())} dimensions)"
        searches[title] = rival.ledger.trials
    draw_history(searches, _lines(study, evaluator), study.out / HISTORY)
    values = own.ledger.trials[results["winner"]["trial"]].params
    if own.space.choices:
        draw_choices(own.space.lists(), own.ledger.trials, values, study.out / CHOICES)
    if own.space.ranges:
        listed = chosen(results["winner"])
        title = f"found recipe ({listed})" if listed else "found recipe"
        draw_depth(own.space, values, study.out / DEPTH, title)
    write_text(study.out / RESULTS, json.dumps(results, indent=1) + "\n")  # last: it ends a study


def _lines(study: StudyFile, evaluator: Scorer) -> dict[str, float]:
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
