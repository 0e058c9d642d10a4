"""What a study needs of whoever scores its recipes: one live model here, or workers elsewhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from merge_ops.recipe import Recipe
from objectives.blocks import Block
from objectives.objective import Objective
from objectives.records import ScoreSet, Split


class ModelFacts(Protocol):
    """What is known of the live model without touching it; `ResidentModel` satisfies it."""

    @property
    def layers(self) -> int:
        """Number of text layers."""
        ...

    @property
    def merged_names(self) -> Sequence[str]:
        """Canonical names of the tensors that recipes write."""
        ...

    @property
    def vocabulary(self) -> Sequence[str]:
        """Which rows of embeddings and head recipes write, in words."""
        ...

    @property
    def device(self) -> object:
        """Where it lies."""
        ...


class Scored(Protocol):
    """One recipe's scores and what they cost."""

    @property
    def sets(self) -> tuple[ScoreSet, ...]:
        """Per-example scores, one set per objective."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase: build, score."""
        ...


class Scorer(Protocol):
    """Scores recipes; `Evaluator` on its own live model, `RemoteEvaluator` through workers."""

    @property
    def resident(self) -> ModelFacts:
        """What is known of the live model."""
        ...

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search maximises."""
        ...

    @property
    def folder(self) -> Path:
        """The study's."""
        ...

    @property
    def identities(self) -> Mapping[str, str]:
        """Sha256 of the models."""
        ...

    @property
    def tasks(self) -> Mapping[str, str]:
        """Whose view scores an objective."""
        ...

    @property
    def smooth(self) -> frozenset[str]:
        """Names of objectives whose smooth twin the search maximises."""
        ...

    @property
    def front(self) -> Mapping[str, Sequence[str]]:
        """The objectives of each value of a front, by its name."""
        ...

    def score(
        self,
        recipe: Recipe,
        split: Split,
        *,
        why: str = "",
        objectives: Sequence[Objective] | None = None,
    ) -> Scored:
        """As in `Evaluator.score`."""
        ...

    def signal(self, sets: Sequence[ScoreSet]) -> float:
        """As in `Evaluator.signal`."""
        ...

    def aims(self, sets: Sequence[ScoreSet]) -> dict[str, float]:
        """As in `Evaluator.aims`."""
        ...

    def blocks(self, split: Split) -> tuple[Block, ...]:
        """The blocks of the study's own objectives."""
        ...

    def digest(self, recipe: Recipe) -> str:
        """As in `Evaluator.digest`."""
        ...

    def plan_record(self) -> dict[str, Any]:
        """How the study's own objectives were scored."""
        ...
