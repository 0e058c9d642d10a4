"""Scoring recipes on the live model, and the log of every look at the test split."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel
from objectives.blocks import Block
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.objective import Objective
from objectives.out_of_memory import free_memory, is_out_of_memory, memory_for
from objectives.records import ScoreSet, Split
from search.candidate import members
from studies.disk import with_room
from studies.half_scored import Part
from studies.paths import TEST_READS
from studies.signal import aims, signal


@dataclass(frozen=True, slots=True)
class Scored:
    """One recipe's scores and what they cost.

    Attributes:
        sets: per-example scores, one set per objective.
        seconds: by phase: build, score.
    """

    sets: tuple[ScoreSet, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores recipes on one resident model.

    Attributes:
        resident: the live model.
        objectives: what the search maximises.
        folder: the study's folder, where looks at the test split are logged.
        identities: sha256 of the models, for digests.
        tasks: whose view scores an objective, by the objective's name, for recipes with views.
        engine: answers what the objectives ask; its caches serve all of them.
        smooth: names of objectives whose smooth twin the search maximises.
        front: the objectives of each value of a front, by its name; empty where none is searched.
        parts: where blocks are kept, unless a call says otherwise.
        disk_wait: seconds that the log of looks at the test split waits for room on a full disk.
    """

    resident: ResidentModel
    objectives: tuple[Objective, ...]
    folder: Path
    identities: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    engine: Engine = field(default_factory=Engine)
    smooth: frozenset[str] = frozenset()
    front: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parts: Callable[[str], Part] | None = None
    disk_wait: float = 0.0
    _evaluations: dict[tuple[int, ...], Evaluation] = field(default_factory=dict)

    def score(
        self,
        recipe: Recipe,
        split: Split,
        *,
        why: str = "",
        objectives: Sequence[Objective] | None = None,
        stops: Callable[[int, tuple[ScoreSet, ...]], bool] | None = None,
        parts: Callable[[str], Part] | None = None,
    ) -> Scored:
        """Write the recipe into the live model and score it on a split.

        A recipe with views is written once for each view that an objective asks for.

        Args:
            recipe: of the resident models.
            split: a look at "test" is logged with `why`.
            why: who asks, for that log.
            objectives: others than the study's own.
            stops: as in `Evaluation.score_sets`; of a recipe without views.
            parts: where blocks are kept that must not be scored twice, by what is asked in them.

        Raises:
            UserError: the recipe is not of the resident models, or has no view for an objective.
            ObjectiveError: it does not fit into memory, or an example cannot be scored.
        """
        chosen = self.objectives if objectives is None else objectives
        models = members(recipe, [objective.name for objective in chosen], self.tasks)
        stores = [
            self._store(*member, chosen, split, why, parts or self.parts) for member in models
        ]
        if split == "test" and not any(store and store.begun() for store in stores):
            look = partial(log_test_read, self.folder, why, self.digest(recipe))
            with_room(look, self.folder, self.disk_wait)
        seconds = {"build": 0.0, "score": 0.0}
        sets: dict[int, ScoreSet] = {}
        for (model, places), store in zip(models, stores, strict=True):
            start = time.perf_counter()
            with memory_for("merged", self.resident.device):
                self._become(model)
            built = time.perf_counter()
            evaluation = self.evaluation([chosen[i] for i in places])
            with memory_for("scored", self.resident.device):
                found = evaluation.score_sets(split, stops, store)
            sets |= dict(zip(places, found, strict=True))
            seconds["build"] += built - start
            seconds["score"] += time.perf_counter() - built + (store.spent if store else 0.0)
        return Scored(tuple(sets[i] for i in range(len(chosen))), seconds)

    def _store(
        self,
        model: Recipe,
        places: Sequence[int],
        objectives: Sequence[Objective],
        split: Split,
        why: str,
        parts: Callable[[str], Part] | None,
    ) -> Part | None:
        """Where the blocks of one model of a candidate are kept: by model, questions and asker."""
        if parts is None:
            return None
        evaluation = self.evaluation([objectives[i] for i in places])
        return parts(f"{self.digest(model)} {evaluation.digest(split)} {why}")

    def _become(self, model: Recipe) -> None:
        """Write a recipe into the live model; if memory runs out, once more without the caches."""
        try:
            self.resident.become(model)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return
        self.engine.store.clear()
        free_memory(self.resident.device)
        self.resident.become(model)

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        """What the search maximises: the combined score, or smooth twins in place of some.

        Raises:
            ObjectiveError: an objective with a twin gave an example no margin.
        """
        return signal(sets, self.smooth)

    def aims(self, sets: Sequence[ScoreSet]) -> dict[str, float]:
        """What the search maximises at once, by name: a value of the front each; else nothing."""
        return aims(sets, self.front, self.smooth)

    def evaluation(self, objectives: Sequence[Objective]) -> Evaluation:
        """These objectives on the live model; made once, with its batches and captured prompts."""
        key = tuple(map(id, objectives))  # it holds them, so that no id is used twice
        if key not in self._evaluations:
            self._evaluations[key] = Evaluation(self.resident, objectives, self.engine)
        return self._evaluations[key]

    def blocks(self, split: Split) -> tuple[Block, ...]:
        """The blocks of the study's own objectives."""
        return self.evaluation(self.objectives).blocks(split)

    def plan_record(self) -> dict[str, Any]:
        """How the study's own objectives were scored: tokens a pass, and all batches by split."""
        return {
            "tokens_per_batch": self.engine.tokens,
            "prompts_shared": self.engine.shared,
            "prompts_captured": self.engine.store.made,
            "bytes_held": self.engine.store.held(),
            "blocks": self.evaluation(self.objectives).record(),
        }

    def digest(self, recipe: Recipe) -> str:
        """The recipe's digest by the contents of its models, wherever they lie."""
        return recipe.digest(self.identities, self.resident.rows_sha256)


def log_test_read(folder: Path, why: str, digest: str) -> None:
    """Append one look at the test split to the study's log."""
    folder.mkdir(parents=True, exist_ok=True)
    line = {"time": datetime.now(UTC).isoformat(), "why": why, "recipe": digest}
    path = folder / TEST_READS
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        if path.exists():  # what arrived of the line is taken back
            os.truncate(path, size)
        raise


def count_test_reads(folder: Path) -> int:
    """How often anything was scored on the test split."""
    path = folder / TEST_READS
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
