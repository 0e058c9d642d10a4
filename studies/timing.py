"""What candidates cost on this machine: two real ones, scored on a few blocks and timed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from merge_ops.recipe import Recipe
from objectives.blocks import Block
from objectives.evaluation import Evaluation
from objectives.objective import Objective
from search.candidate import members
from studies.evaluator import Evaluator
from studies.workload import Cost, Part, Timings, key_of

Clock = Callable[[], float]

_BLOCKS = 3  # of examples that are timed, if the first one is quick
_QUICK, _ENOUGH = 5.0, 20.0  # seconds of a block, and after which no further candidate is timed
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Lap:
    """One candidate, built and scored on a few blocks.

    Attributes:
        build: seconds.
        parts: objectives that are scored together, their seconds and examples.
    """

    build: float
    parts: tuple[tuple[tuple[Objective, ...], float, int], ...]

    def score(self) -> float:
        """Seconds."""
        return sum(seconds for _, seconds, _ in self.parts)

    def examples(self) -> int:
        """That were scored."""
        return sum(examples for _, _, examples in self.parts)


def time_candidates(
    evaluator: Evaluator,
    recipes: Sequence[Recipe],
    variants: Sequence[tuple[Objective, ...]],
    clock: Clock = time.perf_counter,
) -> Timings:
    """Build and score candidates on the first blocks of the selection split, again and again.

    Args:
        evaluator: of the study; its prompts are dropped once, to tell what they cost.
        recipes: two candidates, or one where there is no other.
        variants: of the objectives, for rows of the table.
        clock: in seconds.

    Raises:
        UserError: a candidate does not fit the models.
        ObjectiveError: an example cannot be scored.
    """
    main = evaluator.objectives
    begun, first = clock(), _lap(evaluator, recipes[0], main, 1, clock)
    blocks = _BLOCKS if first.score() < _QUICK else 1
    evaluator.engine.store.clear()
    cold = _lap(evaluator, recipes[-1], main, blocks, clock, anew=True)
    held = sum(evaluator.engine.store.held().values())
    warm = []
    for round_ in range(_ROUNDS):
        warm.append(_lap(evaluator, recipes[round_ % len(recipes)], main, blocks, clock))
        if clock() - begun > _ENOUGH:
            break
    build = sum(lap.build for lap in (cold, *warm)) / (1 + len(warm))
    costs = {key_of(main): _cost(cold, warm)}
    for objectives in variants:
        if key_of(objectives) not in costs:
            laps = [_lap(evaluator, recipes[0], objectives, blocks, clock) for _ in range(2)]
            costs[key_of(objectives)] = _cost(laps[0], laps[1:])
    ordinary = cold.score() / max(1, cold.examples()) * first.examples()
    return Timings(
        build=build if len(recipes) > 1 else first.build,
        warm_up=max(0.0, first.build - build) + max(0.0, first.score() - ordinary),
        costs=costs,
        candidates=len(recipes),
        examples=cold.examples(),
        bytes_per_example=held / max(1, cold.examples()),
    )


def _cost(cold: _Lap, warm: Sequence[_Lap]) -> Cost:
    """Per example, of prompts that are read for the first time and of those that are held."""
    parts = []
    for i, (objectives, seconds, examples) in enumerate(cold.parts):
        again = sum(lap.parts[i][1] for lap in warm) / len(warm) / max(1, examples)
        parts.append(Part(objectives, max(again, seconds / max(1, examples)), again))
    return tuple(parts)


def _lap(
    evaluator: Evaluator,
    recipe: Recipe,
    objectives: tuple[Objective, ...],
    count: int,
    clock: Clock,
    *,
    anew: bool = False,
) -> _Lap:
    """Time one candidate.

    Args:
        evaluator: of the study.
        recipe: the candidate; one with views is written once for each.
        objectives: what it is scored on.
        count: blocks, of each pass over examples.
        clock: in seconds.
        anew: tokenise and cut batches again too, as for examples that were never seen.
    """
    build, parts = 0.0, []
    for model, places in members(recipe, [o.name for o in objectives], evaluator.tasks):
        start = clock()
        evaluator.resident.become(model)
        _settle(evaluator.resident.device)
        build += clock() - start
        own = tuple(objectives[i] for i in places)
        evaluation = evaluator.evaluation(own)
        if anew:
            evaluation = Evaluation(evaluator.resident, own, evaluator.engine)
        for blocks, scored in _groups(evaluation, own, count):
            start = clock()
            for block in blocks:
                evaluation.score(block)
            seconds = clock() - start
            parts.append((scored, seconds, sum(_size(block, own) for block in blocks)))
    return _Lap(build, tuple(parts))


def _groups(
    evaluation: Evaluation, objectives: tuple[Objective, ...], count: int
) -> Iterator[tuple[tuple[Block, ...], tuple[Objective, ...]]]:
    """A few blocks of the objectives that ask, then each objective that runs the model itself."""
    blocks = evaluation.blocks("selection")
    asking = tuple(block for block in blocks if block.runs is None)
    own = {block.runs for block in blocks if block.runs is not None}
    if asking:
        yield asking[:count], tuple(o for i, o in enumerate(objectives) if i not in own)
    for block in blocks:
        if block.runs is not None:
            yield (block,), (objectives[block.runs],)


def _size(block: Block, objectives: tuple[Objective, ...]) -> int:
    """Examples of a block."""
    if block.runs is None:
        return len(block.asks)
    return len(objectives[block.runs].examples(block.split))


def _settle(device: torch.device) -> None:
    """Wait for what an accelerator has been told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
