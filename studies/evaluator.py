"""Scoring recipes on the live model, and the log of every look at the test split."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from merge_ops.recipe import Recipe
from merge_ops.resident import ResidentModel
from objectives.blocks import Block
from objectives.engine import Engine
from objectives.evaluation import Evaluation
from objectives.objective import Objective
from objectives.records import ScoreSet, Split
from search.candidate import members
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
    """

    resident: ResidentModel
    objectives: tuple[Objective, ...]
    folder: Path
    identities: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    engine: Engine = field(default_factory=Engine)
    smooth: frozenset[str] = frozenset()
    front: Mapping[str, Sequence[str]] = field(default_factory=dict)
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
        """
        chosen = self.objectives if objectives is None else objectives
        models = members(recipe, [objective.name for objective in chosen], self.tasks)
        if split == "test":
            log_test_read(self.folder, why, self.digest(recipe))
        seconds = {"build": 0.0, "score": 0.0}
        sets: dict[int, ScoreSet] = {}
        for model, places in models:
            start = time.perf_counter()
            self.resident.become(model)
            built = time.perf_counter()
            evaluation = self.evaluation([chosen[i] for i in places])
            part = parts(f"{evaluation.digest(split)} {why}") if parts else None
            sets |= dict(zip(places, evaluation.score_sets(split, stops, part), strict=True))
            seconds["build"] += built - start
            seconds["score"] += time.perf_counter() - built + (part.spent if part else 0.0)
        return Scored(tuple(sets[i] for i in range(len(chosen))), seconds)

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
    with (folder / TEST_READS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def count_test_reads(folder: Path) -> int:
    """How often anything was scored on the test split."""
    path = folder / TEST_READS
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
