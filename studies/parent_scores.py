"""Scores of a study's parents on selection and confirm, taken once and kept in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from merge_ops.atomic import write_text
from merge_ops.recipe import Recipe
from objectives.objective import Objective
from objectives.records import ExampleScore, ScoreSet
from studies.paths import PARENTS
from studies.scorer import Scorer

Seen = Literal["selection", "confirm"]
"""Splits whose scores may be kept; looks at the test split are logged one by one."""


@dataclass(frozen=True, slots=True)
class ParentScores:
    """What parents got on the study's objectives, by recipe and split.

    What candidates are compared with must not change while the search runs and must not cost
    twice: each parent is scored once in a study, by the same blocks as the candidates. A file that
    cannot be read, or that is of other examples, is made anew.

    Attributes:
        evaluator: scores what is not known yet.
    """

    evaluator: Scorer
    _known: dict[tuple[str, Seen], tuple[ScoreSet, ...]] = field(default_factory=dict)

    def of(self, recipe: Recipe, split: Seen) -> tuple[ScoreSet, ...]:
        """A parent's scores, one set for each of the study's objectives."""
        key = (self.evaluator.digest(recipe), split)
        if key not in self._known:
            kept = self._read().get(key[0], {}).get(split)
            sets = _restored(self.evaluator.objectives, split, kept)
            self._known[key] = sets or self._scored(recipe, *key)
        return self._known[key]

    def _scored(self, recipe: Recipe, digest: str, split: Seen) -> tuple[ScoreSet, ...]:
        sets = self.evaluator.score(recipe, split).sets
        content = self._read()
        own = {s.objective: {score.id: score.value for score in s.scores} for s in sets}
        content.setdefault(digest, {})[split] = own
        write_text(self.evaluator.folder / PARENTS, json.dumps(content) + "\n")
        return sets

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads((self.evaluator.folder / PARENTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(content, dict) and all(isinstance(v, dict) for v in content.values())
        return content if whole else {}


def _restored(
    objectives: Sequence[Objective], split: Seen, kept: Mapping[str, Any] | None
) -> tuple[ScoreSet, ...] | None:
    """The score sets of a file, if it holds a number for every example and nothing else."""
    if not isinstance(kept, dict) or kept.keys() != {o.name for o in objectives}:
        return None
    sets = []
    for objective in objectives:
        examples, values = objective.examples(split), kept[objective.name]
        if not isinstance(values, dict) or list(values) != [e.id for e in examples]:
            return None
        if not all(isinstance(value, (int, float)) for value in values.values()):
            return None
        scores = tuple(ExampleScore(e.id, values[e.id], e.category) for e in examples)
        sets.append(ScoreSet(objective.name, objective.average, objective.weight, scores))
    return tuple(sets)
