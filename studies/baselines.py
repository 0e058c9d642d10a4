"""What a merged reward model must beat: no image, captions, a judge, and the draw by lot."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from merge_ops.layout import Layout
from merge_ops.lowering import lower_recipe
from merge_ops.recipe import Recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.resident import ResidentModel
from objectives.data import Example
from objectives.judging import Judge
from objectives.objective import Objective
from objectives.picking import Picking, chance
from objectives.preference import Preference
from objectives.records import ExampleScore, ScoreSet
from objectives.request import Writing
from objectives.statistics import interval
from studies.captions import Captions, describe_images, read_captions, with_caption
from studies.comparison import only
from studies.disk import with_room
from studies.duration import seconds
from studies.engine_setup import make_engine
from studies.evaluator import Evaluator
from studies.model_setup import load_models
from studies.objectives_setup import make_objectives, without_image
from studies.paths import BASELINES, CAPTIONS, RECIPE
from studies.setup import StudyFile, identities
from studies.splits_file import claim_splits
from studies.tasks import objective_tasks

Scored = Preference | Picking
"""The objectives that there are baselines for: responses that are scored, not written."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row: a model, and how it scores the responses; None needs no model."""

    name: str
    recipe: Recipe | None
    objectives: tuple[Objective, ...]


def run_baselines(
    study: StudyFile, captions: Path | None = None, votes: int = 1
) -> list[dict[str, Any]]:
    """Score every baseline on the test split; rows also lie in the study's folder.

    Args:
        study: with preferences or best of N among its objectives.
        captions: JSON lines of `id` and `caption` for the cascade; else the target writes them,
            once.
        votes: of the judge; more than one are sampled at temperature 1.

    Raises:
        UserError: no objective scores responses, or captions are missing.
        ObjectiveError: data that cannot be used.
    """
    known = identities(study)
    objectives = make_objectives(study.config, study.folder)
    claim_splits(study.out, objectives.data)
    ours = [o for o in objectives.main if isinstance(o, (Preference, Picking))]
    if not ours:
        raise UserError(
            f"{study.file.path}: baselines are for objectives of the kinds preference and "
            "best_of_n, and the study has none."
        )
    resident = load_models(study)
    engine = make_engine(study, study.template.kept_from(), known)
    tasks = objective_tasks(study.config)
    wait = seconds(study.config.runtime.disk_wait)
    evaluator = Evaluator(resident, tuple(ours), study.out, known, tasks, engine, disk_wait=wait)
    described = _captions(study, evaluator, ours, captions)
    rows = []
    for baseline in _baselines(study, resident, ours, described, votes):
        rows += [{"name": baseline.name, **_figures(s)} for s in _sets(baseline, evaluator)]
    content = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}
    texts = {"json": json.dumps(content, indent=1) + "\n", "md": markdown(rows)}
    for kind, text in texts.items():
        path = study.out / f"{BASELINES}.{kind}"
        with_room(partial(write_text, path, text), study.out, wait)
    return rows


def _baselines(
    study: StudyFile,
    resident: ResidentModel,
    ours: Sequence[Scored],
    captions: Captions,
    votes: int,
) -> Iterator[Baseline]:
    template = study.template
    target = template.kept_from()
    place = study.target_index()
    name = study.labels[place] if place is not None else "target"
    alone = only(template, target)
    reward = template.reward_head
    if reward is not None and reward in [source.model for source in template.models]:
        text = only(template, reward)
        yield Baseline("text reward model alone, no image", text, _each(ours, _blind))
        cascade = tuple(_cascade(o, captions[o.name]) for o in ours)
        yield Baseline(f"cascade: captions by {name}, text reward model", text, cascade)
    judges = tuple(_as_judge(o, votes) for o in ours)
    yield Baseline(f"{name} as judge, scores 1 to 5", alone, judges)
    by_logs = tuple(replace(o, scorer="log_probability") for o in ours)
    yield Baseline(f"{name}, log-probability", alone, by_logs)
    found = _found(study, resident)
    if found is not None:
        yield Baseline("found recipe, no image", found, _each(ours, _blind))
        yield Baseline("found recipe", found, tuple(ours))
    picks = tuple(o for o in ours if isinstance(o, Picking))
    for title in _CHANCE if picks else ():
        yield Baseline(title, None, picks)


_CHANCE = {"Pass@1": "pass_at_1", "random": "random", "Pass@N": "pass_at_n"}


def _each(ours: Sequence[Scored], change: Any) -> tuple[Objective, ...]:
    return tuple(map(change, ours))


def _blind(objective: Scored) -> Objective:
    return without_image(objective)


def _cascade(objective: Scored, captions: Mapping[str, str]) -> Objective:
    """The same responses behind a question whose image is told in words."""
    data: dict[Any, Sequence[Example]] = {
        "test": tuple(with_caption(e, captions[e.id]) for e in objective.examples("test"))
    }
    return replace(objective, data=data, image=False)


def _as_judge(objective: Scored, votes: int) -> Objective:
    """The same responses, scored from 1 to 5 in writing."""
    writing = Writing(32, votes=votes, temperature=1.0 if votes > 1 else 0.0)
    if isinstance(objective, Picking):
        return replace(objective, scorer="judge", writing=writing)
    return Judge(
        objective.name, objective.data, objective.average, objective.weight, writing=writing
    )


def _found(study: StudyFile, resident: ResidentModel) -> Recipe | None:
    """What the study found, if it has ended."""
    path = study.out / RECIPE
    if not path.is_file():
        return None
    recipe = replace(read_recipe(path), out_dtype=study.config.runtime.dtype)
    layout = Layout(resident.layers, tuple(resident.merged_names))
    return lower_recipe(recipe, layout, path)


def _captions(
    study: StudyFile, evaluator: Evaluator, ours: Sequence[Scored], path: Path | None
) -> Captions:
    """Captions of the test images, by objective: from a file, from before, or written now."""
    if path is not None:
        return read_captions(path, {o.name: o.examples("test") for o in ours})
    recipe = only(study.template, study.template.kept_from())
    examples = {o.name: o.examples("test") for o in ours}
    return describe_images(evaluator, recipe, examples, study.out / CAPTIONS)


def _sets(baseline: Baseline, evaluator: Evaluator) -> Sequence[ScoreSet]:
    if baseline.recipe is None:
        attribute = _CHANCE[baseline.name]
        return [_by_lot(o, attribute) for o in baseline.objectives]
    why = f"baselines: {baseline.name}"
    return evaluator.score(baseline.recipe, "test", why=why, objectives=baseline.objectives).sets


def _by_lot(objective: Objective, attribute: str) -> ScoreSet:
    scores = tuple(
        ExampleScore(e.id, getattr(chance(e), attribute), e.category)
        for e in objective.examples("test")
    )
    return ScoreSet(objective.name, objective.average, objective.weight, scores)


def _figures(scores: ScoreSet) -> dict[str, Any]:
    flags = [flag for score in scores.scores for flag in score.flags]
    return {
        "objective": scores.objective,
        "n": len(scores.scores),
        **asdict(interval([scores])),
        "average": scores.average,
        "categories": scores.by_category(),
        "flags": {flag: flags.count(flag) for flag in sorted(set(flags))},
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, in per cent."""
    lines = [HEADER, ("---", "---", "---:", "---:", "---")] + [cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


HEADER = ("baseline", "objective", "n", "score [95 %]", "counted")


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    low, high = 100 * row["low"], 100 * row["high"]
    share = f"{100 * row['value']:.1f} [{low:.1f}, {high:.1f}]"
    counted = ", ".join(f"{count} {flag}" for flag, count in row["flags"].items())
    return row["name"], row["objective"], str(row["n"]), share, counted
