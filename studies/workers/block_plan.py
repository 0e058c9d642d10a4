"""Which pieces a candidate is scored in, and how their scores become sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from merge_ops.recipe import Recipe
from objectives.blocks import Block, blocks_digest, make_blocks
from objectives.evaluation import BlockScores, gathered
from objectives.objective import Objective
from objectives.records import SPLITS, ExampleScore, ScoreSet, Split
from search.candidate import members
from studies.config import StudyConfig
from studies.objectives_setup import ObjectiveSet
from studies.seed_average import mean_sets, seeds_of
from studies.tasks import objective_tasks
from studies.workers.protocol import Piece

MAIN = "main"
Key = tuple[str, tuple[int, ...], Split]


def variants(objectives: ObjectiveSet) -> dict[str, tuple[Objective, ...]]:
    """Every set of objectives that a row may be scored on, by a name that travels."""
    rivals = {f"rival {name}": own for name, own in objectives.rivals.items()}
    return {MAIN: objectives.main, "without image": objectives.without_image, **rivals}


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The blocks of a study, known without a model: coordinator and workers make the same.

    Attributes:
        variants: sets of objectives by name.
        block: items per block.
        seed: of their order.
        tasks: whose view scores an objective, by the objective's name.
    """

    variants: Mapping[str, tuple[Objective, ...]]
    block: int
    seed: int
    tasks: Mapping[str, str]
    _blocks: dict[Key, tuple[Block, ...]] = field(default_factory=dict)
    _digests: dict[Key, str] = field(default_factory=dict)

    def named(self, objectives: Sequence[Objective] | None) -> str:
        """The name of a set of objectives; the study's own if none is given."""
        if objectives is None:
            return MAIN
        return next(
            name
            for name, own in self.variants.items()
            if len(own) == len(objectives)
            and all(one is other for one, other in zip(own, objectives, strict=True))
        )

    def blocks(self, variant: str, places: tuple[int, ...], split: Split) -> tuple[Block, ...]:
        """The blocks of some objectives of a set, in order."""
        key = (variant, places, split)
        if key not in self._blocks:
            chosen = [self.variants[variant][i] for i in places]
            self._blocks[key] = make_blocks(chosen, split, self.block, self.seed)
        return self._blocks[key]

    def pieces(
        self, job: int, recipe: Recipe, split: Split, variant: str, seeds: int = 1
    ) -> list[Piece]:
        """All pieces of a candidate, seed after seed and model after model.

        Raises:
            UserError: the recipe has no view for an objective.
        """
        names = [objective.name for objective in self.variants[variant]]
        parts = [
            (model, tuple(places))
            for seed in seeds_of(recipe, seeds)
            for model, places in members(replace(recipe, seed=seed), names, self.tasks)
        ]
        wanted = [
            (model, places, block.index)
            for model, places in parts
            for block in self.blocks(variant, places, split)
        ]
        return [
            Piece(job, i, model, variant, places, split, block)
            for i, (model, places, block) in enumerate(wanted)
        ]

    def part(self, variant: str, places: tuple[int, ...], split: Split) -> str:
        """Sha256, in hex, of what is asked in the blocks of some objectives."""
        key = (variant, places, split)
        if key not in self._digests:
            chosen = [self.variants[variant][i] for i in places]
            self._digests[key] = blocks_digest(chosen, self.blocks(*key))
        return self._digests[key]

    def digest(self) -> str:
        """The same of the study's own objectives, on all splits."""
        places = tuple(range(len(self.variants[MAIN])))
        return " ".join(self.part(MAIN, places, split) for split in SPLITS)

    def means(
        self, pieces: Sequence[Piece], scores: Sequence[BlockScores], seeds: int
    ) -> tuple[ScoreSet, ...]:
        """The scores of all pieces as sets: of so many seeds the means."""
        if seeds == 1:
            return self.sets(pieces, scores)
        size = len(pieces) // seeds
        starts = range(0, len(pieces), size)
        return mean_sets([self.sets(pieces[i : i + size], scores[i : i + size]) for i in starts])

    def sets(self, pieces: Sequence[Piece], scores: Sequence[BlockScores]) -> tuple[ScoreSet, ...]:
        """The first `scores` of one model's pieces, as sets in the order of the data."""
        objectives = self.variants[pieces[0].variant]
        found: list[dict[str, ExampleScore]] = [{} for _ in objectives]
        for piece, own in zip(pieces, scores, strict=False):
            for place, examples in zip(piece.places, own, strict=True):
                found[place] |= {score.id: score for score in examples}
        return gathered(objectives, pieces[0].split, found)


def block_plan(config: StudyConfig, objectives: ObjectiveSet) -> BlockPlan:
    """The blocks of a study; all that decides them stands in its file."""
    tasks = objective_tasks(config)
    return BlockPlan(variants(objectives), config.racing.block, config.seed, tasks)
