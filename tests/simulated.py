"""A study whose workers only pass the time: spaces, objectives and scores without a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from merge_ops.recipe import Recipe, Source
from merge_ops.registry import Value
from objectives.data import Example
from objectives.guard import Floor
from objectives.objective import Objective
from objectives.records import Average, ExampleScore, ScoreSet, Split
from objectives.request import Reply, Request, Turn, make_prompt
from search.depth import even_bands
from search.dimension import Coordinate, Point
from search.modules import WHOLE
from search.proposer import Proposer
from search.refining import RefiningProposer
from search.samplers import make_proposer
from search.space import KnobRange, SearchSpace
from studies.budget import Limits
from studies.guards import Guard, Guards
from studies.interruption import Interruption
from studies.ledger import SEARCH, Ledger
from studies.parent_scores import ParentScores
from studies.racing import Racer
from studies.search_loop import SearchPlan
from studies.workers.block_plan import MAIN, BlockPlan
from studies.workers.coordinator import coordinate
from studies.workers.protocol import Answer, Facts, Piece, Workers
from studies.workers.remote import RemoteEvaluator
from studies.workers.scheduler import Patience, Scheduler
from tests.sleeping import guesses

FACTS = Facts(6, ("model.layers.0.mlp.up_proj.weight",), (), "", "cpu", 1, "here", 1)


@cache
def _examples(items: int) -> Sequence[Example]:
    """Made once, as real objectives read theirs once."""
    return [Example(str(i), f"{i}?", (), {}, "all") for i in range(items)]


@dataclass(frozen=True, slots=True)
class Guess:
    """An objective whose requests nobody answers."""

    items: int
    name: str = "guess"
    average: Average = "micro"
    weight: float = 1.0

    def examples(self, _split: Split) -> Sequence[Example]:
        return _examples(self.items)

    def requests(self, example: Example) -> tuple[Request, ...]:
        prompt = make_prompt([Turn("user", example.question)])
        return (Request(prompt, "log_probability", "x"),)

    def judge(self, example: Example, _replies: Sequence[Reply]) -> ExampleScore:
        return ExampleScore(example.id, 0.0, "all")


def space() -> SearchSpace:
    template = Recipe("task_arithmetic", (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5)}
    return SearchSpace(template, ("vlm", "math"), ranges, even_bands(6, 3), WHOLE)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A study on workers that the caller makes.

    Attributes:
        folder: of the study.
        sampler: who proposes.
        trials: the budget.
        items: of the one objective.
        size: of a block.
        rule: of racing.
        refine: trials of a stage, where bands are tied at first; 0 to search them all at once.
        seeds: of random masks that a candidate is scored with.
        second: what a second objective is, whose scores rise as the first one's fall: "guard", of
            at least 0.3, or "front"; empty for none.
    """

    folder: Path
    sampler: str = "tpe"
    trials: int = 40
    items: int = 64
    size: int = 16
    rule: str = "off"
    refine: int = 0
    seeds: int = 1
    second: str = ""

    def plan(self) -> BlockPlan:
        main: tuple[Objective, ...] = (Guess(self.items),)
        if self.second:
            main += (Guess(self.items, "other", weight=float(self.second == "front")),)
        return BlockPlan({MAIN: main}, self.size, 0, {})

    def ids(self) -> list[list[str]]:
        """Of the examples of each block."""
        places = tuple(range(len(self.plan().variants[MAIN])))
        blocks = self.plan().blocks(MAIN, places, "selection")
        return [[a.example.id for a in block.asks if a.objective == 0] for block in blocks]

    def answers(self, seconds: float = 1.0) -> Callable[[Piece], Answer]:
        """Scores that follow from recipe and block alone."""
        ids = self.ids()

        def answer(piece: Piece) -> Answer:
            own = guesses(piece, ids[piece.block])
            other = tuple(replace(score, value=1 - score.value) for score in own)
            return Answer((own, other) if self.second else (own,), 0.1, seconds)

        return answer

    def evaluator(self, workers: Workers, patience: Patience | None = None) -> RemoteEvaluator:
        scheduler = Scheduler(workers, patience or Patience())
        models = {"v": "1", "m": "2", "base": "3"}
        front = {"guess": ["guess"], "other": ["other"]} if self.second == "front" else {}
        return RemoteEvaluator(FACTS, self.plan(), scheduler, self.folder, models, front=front)

    def proposer(self, confirm: Callable[[Point], Sequence[ScoreSet]]) -> Proposer:
        one, aims = space(), 2 if self.second == "front" else 1
        if not self.refine:
            return make_proposer(self.sampler, one.dimensions(), 0, self.trials, aims)

        def make(dimensions: Sequence[Coordinate], stage: int) -> Proposer:
            return make_proposer(self.sampler, dimensions, stage, self.refine)

        return RefiningProposer(one, 1, self.refine, make, confirm)

    def run(
        self,
        workers: Workers,
        *,
        patience: Patience | None = None,
        on_trial: Callable[[object], None] = lambda _: None,
        interruption: Interruption | None = None,
        deadline: float | None = None,
    ) -> Ledger:
        evaluator = self.evaluator(workers, patience)
        one = space()
        aims = max(1, len(evaluator.front))
        ledger = Ledger(self.folder, SEARCH, one.dimensions(), objectives=aims)
        racer = None
        if self.rule != "off":
            blocks = evaluator.blocks("selection")
            racer = Racer(evaluator.objectives, blocks, self.rule, 0.1, 4)  # type: ignore[arg-type]

        def confirm(point: Point) -> Sequence[ScoreSet]:
            return evaluator.score(one.decode(point), "confirm").sets

        proposer = self.proposer(confirm)
        names = [d.name for d in one.dimensions()]
        warm: list[dict[str, Value]] = [dict.fromkeys(names, i / 10) for i in range(5)]
        guards = None
        if self.second == "guard":
            floor = Guard("other", Floor(0.3, of_parent=False), "v", one.template)
            guards = Guards([floor], ParentScores(evaluator))
        plan = SearchPlan(one, warm, proposer, self.sampler, racer, guards, self.seeds)
        limits = Limits(self.trials, deadline)
        coordinate(plan, ledger, evaluator, limits, interruption or Interruption(), on_trial)
        return ledger
