"""The rows of a study's table: the parents, the published merges, and what the search found."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from merge_ops.recipe import Entry, Recipe, Source
from merge_ops.registry import get_op
from merge_ops.view_recipes import UNIFIED, view_of
from objectives.mishaps import count_mishaps
from objectives.objective import Objective
from objectives.picking import Picking
from objectives.records import ScoreSet, Split, combined
from objectives.statistics import interval, mcnemar, paired_difference
from search.naming import WARM
from search.selection import Confirmed, confirm, finalists
from search.space import SearchSpace
from studies.ledger import Ledger
from studies.objectives_setup import ObjectiveSet
from studies.scorer import Scorer
from studies.setup import StudyFile
from studies.step_progress import StepProgress
from studies.table import BEST_GLOBAL as BEST_GLOBAL
from studies.table import FOUND as FOUND

if TYPE_CHECKING:
    from studies.guards import Guards

BEST_SINGLE = "best single coefficient"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table before it is scored: a recipe, and how to score it."""

    name: str
    recipe: Recipe
    objectives: tuple[Objective, ...]


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One line of the table, scored on the test split."""

    name: str
    sets: tuple[ScoreSet, ...]

    def value(self) -> float:
        """The combined score."""
        return combined(self.sets)


def parent_rows(study: StudyFile, objectives: ObjectiveSet) -> list[Row]:
    """The target alone, each expert alone, and each expert's layers inside the target."""
    target = study.template.kept_from()
    place = study.target_index()
    name = study.labels[place] if place is not None else "target"
    alone = only(study.template, target)
    rows = [Row(f"{name} alone", alone, objectives.main)]
    rows += [Row(f"{name} alone, {how}", alone, o) for how, o in objectives.rivals.items()]
    for label, source in zip(study.labels, study.template.models, strict=True):
        if source.model != target:
            recipe = only(study.template, source.model)
            rows.append(Row(f"{label} alone, no image", recipe, objectives.without_image))
            rows.append(Row(f"{label} layers in {name}", recipe, objectives.main))
    return rows


def published_rows(study: StudyFile, objectives: ObjectiveSet) -> list[Row]:
    """The plain average, task arithmetic with all coefficients 1, and EMR without its views."""
    template = study.template
    equal = [1.0 / len(template.models)] * len(template.models)
    rows = [Row("plain average", _weighted(template, "linear", equal), objectives.main)]
    if template.base_model is not None:
        ones = [1.0] * len(template.models)
        title = f"task arithmetic ({', '.join('1' for _ in ones)})"
        recipe = _weighted(template, "task_arithmetic", ones)
        rows.append(Row(title, recipe, objectives.main))
    if template.has_views():
        recipe = view_of(template, UNIFIED)
        rows.append(Row(f"{template.method} unified, no views", recipe, objectives.main))
    return rows


def only(template: Recipe, model: str) -> Recipe:
    """The merged tensors of one model alone, inside the target."""
    source = Source(model, {"weight": (Entry(None, 1.0),)})
    plain = replace(template, base_model=None, parameters={}, tasks={}, statistics=None)
    return replace(plain, method="linear", models=(source,))


def _weighted(template: Recipe, method: str, weights: Sequence[float]) -> Recipe:
    """All models with one weight each."""
    models = tuple(
        Source(m.model, {"weight": (Entry(None, weight),)})
        for m, weight in zip(template.models, weights, strict=True)
    )
    plain = replace(template, parameters={}, tasks={}, statistics=None)
    base = plain.task_base(get_op(method))
    return replace(plain, method=method, models=models, base_model=base)


def confirm_best(
    trials: Sequence[FrozenTrial],
    space: SearchSpace,
    evaluator: Scorer,
    count: int,
    guards: "Guards | None" = None,
    title: str = "confirm",
) -> list[Confirmed]:
    """Score the best trials of a search again on the confirm split; the winner stands first.

    `title` stands beside the progress.
    """
    total = len(finalists(trials, count))
    done = itertools.count(1)
    with StepProgress(title, "candidates") as progress:

        def score(trial: FrozenTrial) -> Sequence[ScoreSet]:
            sets = evaluator.score(space.decode(trial.params), "confirm").sets
            progress.step(next(done), total)
            return sets

        if guards is None:
            return confirm(trials, count, score)
        return confirm(trials, count, score, lambda sets: guards.decide(sets, "confirm"))


def rival_rows(
    ledger: Ledger,
    space: SearchSpace,
    evaluator: Scorer,
    finals: Sequence[Confirmed],
    guards: "Guards | None" = None,
) -> list[tuple[str, Confirmed]]:
    """The best of the one-coefficient grids, and the best of the search without depth.

    `finals` are that search's finalists on the confirm split, the best first.
    """
    grid = [t for t in ledger.trials if t.user_attrs["source"] == WARM and _single(t, space)]
    rows = []
    if grid:
        best = confirm_best(grid, space, evaluator, len(finals), guards)[0]
        rows.append((BEST_SINGLE, best))
    return [*rows, (BEST_GLOBAL, finals[0])]


def _single(trial: FrozenTrial, space: SearchSpace) -> bool:
    """Whether nothing but the weights differs from the defaults."""
    return all(
        d.name.startswith("weight") or trial.params[d.name] == d.default
        for d in space.dimensions()
    )


def describe(rows: Sequence[ScoredRow], found: ScoredRow) -> list[dict[str, Any]]:
    """Plain figures of every row, for JSON and for the table."""
    described = []
    for row in rows:
        entry = {"name": row.name, **row_figures(row.sets)}
        if row.name != found.name:
            entry["found_minus_this"] = {
                **asdict(paired_difference(found.sets, row.sets)),
                "mcnemar_p": mcnemar(found.sets, row.sets),
                "objectives": {
                    ours.objective: {
                        **asdict(paired_difference([ours], [theirs])),
                        "categories": _gaps(ours, theirs),
                    }
                    for ours, theirs in zip(found.sets, row.sets, strict=True)
                },
            }
        described.append(entry)
    return described


def beside_lines(objectives: Sequence[Objective], split: Split) -> list[str]:
    """What picking one of N is measured against: the first, the best, and one drawn by lot."""
    return [
        f"{objective.name}, best of N: Pass@1 {100 * b.pass_at_1:.1f}, "
        f"Pass@N {100 * b.pass_at_n:.1f}, random {100 * b.random:.1f}"
        for objective in objectives
        if isinstance(objective, Picking)
        for b in [objective.beside(split)]
    ]


def _gaps(ours: ScoreSet, theirs: ScoreSet) -> dict[str, dict[str, float]]:
    """The difference in each category, with its 95 % interval."""
    return {
        name: asdict(paired_difference([ours.only(name)], [theirs.only(name)]))
        for name in ours.by_category()
    }


def row_figures(sets: Sequence[ScoreSet]) -> dict[str, Any]:
    """The combined score and every objective's figures, with their 95 % intervals."""
    return {
        "score": asdict(interval(sets)),
        "objectives": {
            s.objective: {
                **asdict(interval([s])),
                "n": len(s.scores),
                "micro": s.micro(),
                "macro": s.macro(),
                "categories": s.by_category(),
                "mishaps": count_mishaps(s.scores).text(len(s.scores)),
                "intervals": {
                    name: {**asdict(interval([part])), "n": len(part.scores)}
                    for name in s.by_category()
                    for part in [s.only(name)]
                },
            }
            for s in sets
        },
    }
