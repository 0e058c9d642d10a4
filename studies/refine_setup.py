"""From `search.refine` of a study file to its proposer, and back from trials to what it did."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from objectives.records import ScoreSet
from search.dimension import Coordinate, Point
from search.proposer import Proposer, derived_seed
from search.refining import RefiningProposer
from search.samplers import make_proposer
from search.space import SearchSpace
from search.stage import Stage, stages
from studies.config import StudyConfig
from studies.console import warn
from studies.scorer import Scorer
from studies.search_config import Refine

_EVERY = 20
"""Trials of a stage where the budget has no number of trials."""


def make_refiner(
    config: StudyConfig, refine: Refine, space: SearchSpace, sampler: str, evaluator: Scorer
) -> Proposer:
    """The study's sampler, led from coarse to fine.

    Raises:
        UserError: the first stage has as many bands as the last.
    """
    bands = space.depth.places
    if refine.start >= bands:
        raise UserError(f"start must be less than the {bands} bands, but is {refine.start}.")
    every = refine.every or max(10, (config.budget.trials or _EVERY) // (bands - refine.start + 1))

    def make(dimensions: Sequence[Coordinate], stage: int) -> Proposer:
        seed = derived_seed(config.seed, "stage", stage)
        return make_proposer(sampler, dimensions, seed, every)

    def confirm(point: Point) -> Sequence[ScoreSet]:
        return evaluator.score(space.decode(point), "confirm").sets

    def tell(line: str) -> None:
        warn(f"{config.name}: {line}")

    warn(f"{config.name}: from {refine.start} to {bands} bands, {every} trials for each cut")
    return RefiningProposer(space, refine.start, every, make, confirm, tell)


def refined(trials: Sequence[FrozenTrial], space: SearchSpace) -> list[dict[str, Any]]:
    """What each stage of a search was, as plain data; empty where nothing was refined.

    Its trials, the first layers of its bands, at which layer a cut was on trial, whether the cut
    stayed (None: not judged yet), and what it won on the confirm split (None: not compared).
    """
    found = stages(trials)
    after = [stage for stage, _ in found[1:]]
    return [
        _told(stage, count, next_, space) for (stage, count), next_ in zip_longest(found, after)
    ]


def _told(stage: Stage, count: int, after: Stage | None, space: SearchSpace) -> dict[str, Any]:
    judged = after is not None and stage.cut
    return {
        "trials": count,
        "first_layers": [space.depth.edges[edge] for edge in stage.edges],
        "cut_at_layer": space.depth.edges[stage.cut] if stage.cut else None,
        "stays": stage.cut in after.edges if after and judged else None,
        "gain_on_confirm": after.gain if after and judged else None,
    }
