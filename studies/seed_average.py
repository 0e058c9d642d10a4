"""A candidate scored as the mean over several seeds of its random masks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from merge_ops.recipe import Recipe
from objectives.records import ExampleScore, ScoreSet
from studies.evaluator import Evaluator, Scored
from studies.half_scored import Part


def seeds_of(recipe: Recipe, count: int) -> list[int]:
    """The recipe's own seed and the next ones."""
    return [(recipe.seed + i) % 2**63 for i in range(count)]


def score_over_seeds(
    evaluator: Evaluator, recipe: Recipe, count: int, parts: Callable[[str], Part] | None = None
) -> Scored:
    """Every example's mean score on the selection split over so many masks.

    Args:
        evaluator: of the study.
        recipe: the first seed is its own.
        count: of seeds.
        parts: where blocks are kept that must not be scored twice.

    Raises:
        UserError: the recipe is not of the resident models.
    """
    found = [
        evaluator.score(replace(recipe, seed=seed), "selection", parts=parts)
        for seed in seeds_of(recipe, count)
    ]
    names = found[0].seconds
    spent = {name: sum(one.seconds[name] for one in found) for name in names}
    return Scored(mean_sets([one.sets for one in found]), spent)


def mean_sets(found: Sequence[Sequence[ScoreSet]]) -> tuple[ScoreSet, ...]:
    """Every example's mean score over the seeds, one set per objective."""
    return tuple(_mean(columns) for columns in zip(*found, strict=True))


def _mean(sets: Sequence[ScoreSet]) -> ScoreSet:
    columns = zip(*(one.scores for one in sets), strict=True)
    return replace(sets[0], scores=tuple(_mean_score(column) for column in columns))


def _mean_score(scores: Sequence[ExampleScore]) -> ExampleScore:
    margins = [score.margin for score in scores if score.margin is not None]
    return replace(
        scores[0],
        value=sum(score.value for score in scores) / len(scores),
        flags=tuple(sorted({flag for score in scores for flag in score.flags})),
        margin=sum(margins) / len(margins) if len(margins) == len(scores) else None,
    )
