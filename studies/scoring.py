"""Scoring one recipe or model outside the loop, exactly as the study scores it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from merge_ops.hub import model_folder, weights_sha256
from merge_ops.layout import Layout
from merge_ops.loading import HEAD_FILE
from merge_ops.lowering import lower_recipe, needs_target
from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.recipe_yaml import read_recipe
from merge_ops.references import locate_here
from merge_ops.residency import load_resident
from merge_ops.view_recipes import view_of
from objectives.records import ScoreSet, Split, combined
from studies.comparison import beside_lines, row_figures
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.model_setup import prepare_runtime
from studies.objectives_setup import make_objectives
from studies.paths import SCORES
from studies.setup import StudyFile
from studies.tasks import objective_tasks


def score_once(
    what: str, study: StudyFile, split: Split, *, task: str | None = None
) -> dict[str, Any]:
    """Score a recipe file or a model on one split of a study.

    Args:
        what: path of a recipe, a model's folder, or a hub id.
        study: the checked study file.
        split: which examples; a look at "test" is logged in the study's folder.
        task: score this one view of a recipe with views on every objective; else each objective
            is scored on the view of its own task.

    Returns:
        Figures with intervals and, where the study has finished, the number of examples that came
        out differently than for the recipe it found (for that recipe itself, in the study's own
        dtype, 0).

    Raises:
        UserError: the recipe or model cannot be read, or has no such task.
    """
    recipe = _recipe(what, study)
    if task is not None:
        recipe = view_of(recipe, task)
    tasks = objective_tasks(study.config) if recipe.has_views() else {}
    runtime = prepare_runtime(study)
    objectives = make_objectives(study.config, study.folder)
    resident = load_resident(recipe, runtime, also=needs_target(recipe))
    if _is_file(what):
        layout = Layout(resident.layers, tuple(resident.merged_names))
        recipe = lower_recipe(recipe, layout, Path(what))
    identities = {ref: weights_sha256(ref) for ref in recipe.references()}
    engine = make_engine(study, recipe.kept_from(), identities)
    evaluator = Evaluator(resident, objectives.main, study.out, identities, tasks, engine)
    why = f"eval {what}" if task is None else f"eval {what}, view {task!r}"
    scored = evaluator.score(recipe, split, why=why)
    return {
        "what": what,
        "split": split,
        "tasks": tasks
        if task is None
        else dict.fromkeys((s.objective for s in scored.sets), task),
        **row_figures(scored.sets),
        "value": combined(scored.sets),
        "beside": beside_lines(objectives.main, split),
        "against_found": _against_found(study, scored.sets, split),
    }


def _is_file(what: str) -> bool:
    return Path(what).suffix in {".yaml", ".yml"}


def _recipe(what: str, study: StudyFile) -> Recipe:
    """The recipe in a file, under the study's runtime; or a model as it is, as a recipe."""
    dtype = study.config.runtime.dtype
    if _is_file(what):
        return replace(read_recipe(Path(what)), out_dtype=dtype)
    model = locate_here(what)
    own_head = (model_folder(model) / HEAD_FILE).exists()
    return Recipe(
        method="linear",
        models=(Source(model, {"weight": (Entry(None, 1.0),)}),),
        dtype=dtype,
        out_dtype=dtype,
        target=model,
        reward_head=model if own_head else study.template.reward_head,
        exclude=study.template.exclude,
        template=study.template.template,
    )


def _against_found(
    study: StudyFile, sets: Sequence[ScoreSet], split: Split
) -> dict[str, int] | None:
    """On how many examples the study's found recipe came out differently, if it is known."""
    path = study.out / SCORES
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8")).get(split, {})
    pairs = [(s.value, found.get(own.objective, {}).get(s.id)) for own in sets for s in own.scores]
    known = [(ours, theirs) for ours, theirs in pairs if theirs is not None]
    if not known:
        return None
    return {"n": len(known), "flipped": sum(ours != theirs for ours, theirs in known)}


def figures_of(result: Mapping[str, Any]) -> list[str]:
    """The result in lines of text."""
    lines = [f"{result['what']} on {result['split']}: {_share(result['score'])}"]
    for name, own in result["objectives"].items():
        categories = ", ".join(f"{k} {100 * v:.1f}" for k, v in own["categories"].items())
        lines.append(
            f"  {name} (n = {own['n']}): {_share(own)}  overall {100 * own['micro']:.1f}, "
            f"macro {100 * own['macro']:.1f}; {categories}{_by(result['tasks'].get(name))}"
        )
        if own["mishaps"]:
            lines.append(f"    {own['mishaps']}")
    lines += [f"  {line}" for line in result["beside"]]
    found = result["against_found"]
    if found is not None:
        lines.append(
            f"  {found['flipped']} of {found['n']} examples came out differently than for the "
            "study's found recipe"
        )
    return lines


def _by(task: str | None) -> str:
    return "" if task is None else f"; by the view {task!r}"


def _share(value: Mapping[str, float]) -> str:
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{100 * value['value']:.2f} [{low:.1f}, {high:.1f}]"
