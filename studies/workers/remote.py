"""Scoring recipes through workers: what `Evaluator` is to one live model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from merge_ops.recipe import Recipe
from objectives.blocks import Block
from objectives.objective import Objective
from objectives.records import ScoreSet, Split
from studies.disk import with_room
from studies.evaluator import Scored, log_test_read
from studies.half_scored import Blocks, Kept
from studies.signal import aims, signal
from studies.workers.block_plan import MAIN, BlockPlan
from studies.workers.job import Job, Prefix
from studies.workers.protocol import Answer, Facts, Piece
from studies.workers.scheduler import Scheduler


@dataclass(slots=True)
class RemoteEvaluator:
    """Scores recipes on workers; the parts of one recipe on as many as are idle.

    Attributes:
        resident: what is known of the workers' models.
        plan: the study's blocks.
        scheduler: gives the workers their pieces.
        folder: the study's, where looks at the test split are logged.
        identities: sha256 of the models, for digests.
        smooth: names of objectives whose smooth twin the search maximises.
        front: the objectives of each value of a front, by its name.
        workers: how many there are at the beginning.
        disk_wait: seconds that the log of looks at the test split waits for room on a full disk.
        kept: where blocks are kept, and found again, unless a call says otherwise.
    """

    resident: Facts
    plan: BlockPlan
    scheduler: Scheduler
    folder: Path
    identities: Mapping[str, str]
    smooth: frozenset[str] = frozenset()
    front: Mapping[str, Sequence[str]] = field(default_factory=dict)
    workers: int = 1
    disk_wait: float = 0.0
    kept: Blocks | None = None
    _numbers: Any = field(default_factory=count)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search maximises."""
        return self.plan.variants[MAIN]

    @property
    def tasks(self) -> Mapping[str, str]:
        """Whose view scores an objective."""
        return self.plan.tasks

    def score(
        self,
        recipe: Recipe,
        split: Split,
        *,
        why: str = "",
        objectives: Sequence[Objective] | None = None,
    ) -> Scored:
        """As `Evaluator.score`.

        Raises:
            UserError: it cannot be scored, or no worker is left.
        """
        variant = self.plan.named(objectives)
        job = self.job(recipe, split, variant=variant, store=self.kept, why=why)
        if split == "test" and not job.scores:  # else an earlier run has logged this look
            look = partial(log_test_read, self.folder, why, self.digest(recipe))
            with_room(look, self.folder, self.disk_wait)
        jobs, ended = [job], list[Job]()
        self.scheduler.run(lambda: jobs.pop() if jobs else None, ended.append)
        if ended[0].reason:
            raise UserError(ended[0].reason)
        return self.scored(ended[0])

    def job(
        self,
        recipe: Recipe,
        split: Split,
        *,
        variant: str = MAIN,
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None = None,
        store: Blocks | None = None,
        why: str = "",
        seeds: int = 1,
    ) -> Job:
        """A recipe to be scored.

        Args:
            recipe: of the workers' models.
            split: of the examples.
            variant: which set of objectives.
            stops: told the index of each block in order and all scores so far.
            store: where its blocks are kept, and may be found: under the keys of one process.
            why: who asks, for those keys.
            seeds: of random masks, over which its scores are means; then nothing stops it.

        Raises:
            UserError: the recipe has no view for an objective.
        """
        number = next(self._numbers)
        pieces = self.plan.pieces(number, recipe, split, variant, seeds)

        def stopped(prefix: Prefix) -> bool:
            return stops is not None and stops(len(prefix) - 1, self.plan.sets(pieces, prefix))

        if store is None:
            return Job(number, pieces, stopped, seeds=seeds, raced=stops is not None)
        digests = {id(p.recipe): self.digest(p.recipe) for p in pieces if p.block == 0}
        keys = [
            f"{digests[id(p.recipe)]} {self.plan.part(variant, p.places, split)} {why}"
            for p in pieces
        ]
        found = {p.index: store.get(keys[p.index], p.block) for p in pieces}

        def keep(piece: Piece, answer: Answer) -> None:
            store.put(keys[piece.index], piece.block, Kept(answer.scores, answer.score))

        job = Job(number, pieces, stopped, keep, seeds=seeds, raced=stops is not None)
        for kept in (kept for kept in found.values() if kept):
            job.seconds["score"] += kept.seconds
        job.restore({i: kept.scores for i, kept in found.items() if kept})
        return job

    def scored(self, job: Job) -> Scored:
        """The scores of a job that has ended, as far as it was scored."""
        return Scored(self.plan.means(job.pieces, job.prefix(), job.seeds), job.seconds)

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        """As `Evaluator.signal`."""
        return signal(sets, self.smooth)

    def aims(self, sets: Sequence[ScoreSet]) -> dict[str, float]:
        """As `Evaluator.aims`."""
        return aims(sets, self.front, self.smooth)

    def blocks(self, split: Split) -> tuple[Block, ...]:
        """The blocks of the study's own objectives."""
        return self.plan.blocks(MAIN, tuple(range(len(self.objectives))), split)

    def plan_record(self) -> dict[str, Any]:
        """Where and how the study was scored: each worker's figures, and all batches by split.

        A block that several workers scored stands there once, unless their batches differ.
        """
        records = [dict(record) for record in self.scheduler.workers.records()]
        blocks: dict[str, dict[str, Any]] = {}
        for record in records:
            for split, own in record.pop("blocks").items():
                blocks.setdefault(split, {}).update((json.dumps(block), block) for block in own)
        told = {
            split: sorted(found.values(), key=lambda block: int(block["block"]))
            for split, found in sorted(blocks.items())
        }
        return {"workers": records, "blocks": told}

    def digest(self, recipe: Recipe) -> str:
        """The recipe's digest by the contents of its models, wherever they lie."""
        return recipe.digest(self.identities, self.resident.rows_sha256)
