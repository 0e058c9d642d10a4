"""Racing the candidates of one study: who each is compared with, and when it stops."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from objectives.blocks import Block
from objectives.objective import Objective
from objectives.records import ScoreSet
from search.covariates import BEST, Items, covariates, explained
from search.feasibility import feasible, in_full, value_of
from search.racing import RACING, STOPPED, Look, Race, Stratum, look, shrunk, survives_halving
from studies.trial_facts import is_copy, scores_of

Key = tuple[str, str]
"""Names of an objective and of one of its examples."""


def is_whole(trial: FrozenTrial) -> bool:
    """Whether a trial was scored on every example, and is not the copy of one that was."""
    return in_full(trial) and not is_copy(trial)


def saved(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """What racing saved: trials that it stopped, items that were scored, and that there were.

    Copies of earlier trials do not count.
    """
    scored = [t for t in trials if value_of(t) is not None and not is_copy(t)]
    per_trial = [sum(map(len, scores_of(t).values())) for t in scored]
    seen = [t.user_attrs.get(STOPPED, n) for t, n in zip(scored, per_trial, strict=True)]
    stopped = sum(STOPPED in t.user_attrs for t in scored)
    return {"stopped": stopped, "items_scored": sum(seen), "items": sum(per_trial)}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the finished trials say: whom a candidate races, and what they tell of the items."""

    rival: float
    scores: Items
    numbers: NDArray[np.float64]
    values: tuple[float, ...]


@dataclass(slots=True)
class Racer:
    """Decides, block after block, whether one search's candidates go on.

    Attributes:
        objectives: what the search maximises.
        blocks: the selection split's, in order.
        rule: "test" or "halving"; see `search.racing`.
        alpha: error of the test.
        top: a candidate must be able to enter so many best.
    """

    objectives: Sequence[Objective]
    blocks: Sequence[Block]
    rule: RACING
    alpha: float = 0.02
    top: int = 5
    _items: dict[Key, int] = field(default_factory=dict)
    _strata: list[Stratum] = field(default_factory=list)
    _stratum: list[int] = field(default_factory=list)
    _ends: list[list[int]] = field(default_factory=list)
    _stored: dict[int, Items] = field(default_factory=dict)
    _courses: list[list[float]] = field(default_factory=list)
    _followed: int = 0
    _standings: dict[int, _Standing] = field(default_factory=dict)
    _race: Race = field(init=False)

    def __post_init__(self) -> None:
        total = sum(objective.weight for objective in self.objectives)
        for objective in self.objectives:
            examples = objective.examples("selection")
            sizes = Counter(example.category for example in examples)
            places = {category: len(self._strata) + i for i, category in enumerate(sizes)}
            for size in sizes.values():
                share = size / len(examples) if objective.average == "micro" else 1 / len(sizes)
                self._strata.append(Stratum(objective.weight / total * share, size))
            for example in examples:
                self._items[objective.name, example.id] = len(self._items)
                self._stratum.append(places[example.category])
        seen: list[int] = []
        for block in self.blocks:
            names = [(self.objectives[a.objective].name, a.example.id) for a in block.asks]
            seen = [*seen, *(self._items[name] for name in names)]
            self._ends.append(seen)
        ends = [len(seen) / len(self._ends[-1]) for seen in self._ends]
        self._race = Race(self.alpha, tuple(ends))

    def verdict(
        self, block: int, sets: Sequence[ScoreSet], trials: Sequence[FrozenTrial]
    ) -> float | None:
        """What a candidate is worth if it stops after a block; None if it goes on.

        Args:
            block: index of the block just scored.
            sets: all its scores so far.
            trials: the search's finished trials.
        """
        if block >= len(self.blocks) - 1:
            return None
        standing = self._standing(trials)
        if standing is None:
            return None
        seen = [self._items[own.objective, score.id] for own in sets for score in own.scores]
        scores = np.array([score.value for own in sets for score in own.scores])
        gaps = explained(scores - standing.scores[seen], standing.numbers[seen])
        found = self._look(seen, gaps.rest, gaps.freedom)
        if self.rule == "halving":
            own = self._look(seen, scores).difference
            stops = not survives_halving(own, self._peers(block, trials))
        else:
            stops = self._race.stops(block, found, len(seen))
        return shrunk(found, standing.rival, standing.values) if stops else None

    def in_order(self, sets: Sequence[ScoreSet]) -> dict[str, list[float | None]]:
        """Scores of a stopped candidate in the order of the data."""
        found: dict[str, list[float | None]] = {}
        for objective, own in zip(self.objectives, sets, strict=True):
            known = {score.id: score.value for score in own.scores}
            found[objective.name] = [known.get(e.id) for e in objective.examples("selection")]
        return found

    def _standing(self, trials: Sequence[FrozenTrial]) -> _Standing | None:
        """How the finished trials stand, worked out once; None if too few are whole."""
        if len(trials) not in self._standings:
            whole = [t for t in trials if is_whole(t) and feasible(t)]
            whole.sort(key=lambda t: (-(t.value or 0.0), t.number))
            if len(whole) < self.top:
                return None
            asked = whole[: max(BEST, self.top)]
            self._stored = {trial.number: self._scores(trial) for trial in asked}
            scores = np.stack([self._scores(trial) for trial in asked[:BEST]])
            rival = self._scores(asked[self.top - 1])
            numbers = covariates(scores, rival, self._weights())
            values = tuple(t.value or 0.0 for t in whole)
            standing = _Standing(values[self.top - 1], rival, numbers, values)
            self._standings = {len(trials): standing}
        return self._standings[len(trials)]

    def _weights(self) -> Items:
        """What each item counts in the score."""
        shares = [stratum.weight / stratum.size for stratum in self._strata]
        return np.array([shares[place] for place in self._stratum])

    def _scores(self, trial: FrozenTrial) -> Items:
        """A trial's scores in a row, NaN for None; those of the best are kept."""
        if trial.number in self._stored:
            return self._stored[trial.number]
        stored = scores_of(trial)
        return np.array([v for own in self.objectives for v in stored[own.name]], dtype=float)

    def _look(self, seen: Sequence[int], values: Items, freedom: float = 0.0) -> Look:
        parts: list[list[float]] = [[] for _ in self._strata]
        for item, value in zip(seen, values.tolist(), strict=True):
            parts[self._stratum[item]].append(value)
        return look(self._strata, parts, freedom)

    def _peers(self, block: int, trials: Sequence[FrozenTrial]) -> list[float]:
        """Scores up to a block of all earlier trials that got there."""
        new = [t for t in trials[self._followed :] if t.value is not None]
        self._courses += [self._course(self._scores(trial)) for trial in new]
        self._followed = len(trials)
        return [own[block] for own in self._courses if len(own) > block]

    def _course(self, scores: Items) -> list[float]:
        """What a trial was worth after each block that it was scored on."""
        course = []
        for seen in self._ends:
            own = scores[seen]
            if np.isnan(own).any():
                break
            course.append(self._look(seen, own).difference)
        return course
