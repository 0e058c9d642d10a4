"""Racing the candidates of one study: who each is compared with, and when it stops."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from optuna.trial import FrozenTrial

from objectives.blocks import Block
from objectives.objective import Objective
from objectives.records import ScoreSet
from search.feasibility import feasible, value_of
from search.racing import RACING, STOPPED, Look, Race, Stratum, look, shrunk, survives_halving
from studies.trial_facts import COPY_OF

Key = tuple[str, str]
"""Names of an objective and of one of its categories."""
Stored = Mapping[str, Sequence[float | None]]
"""Scores by objective in the order of the data; None for what was not scored."""


def stored_scores(trial: FrozenTrial) -> Stored:
    """The per-example scores of a trial, as the ledger keeps them."""
    found: Stored = json.loads(trial.user_attrs.get("scores", "{}"))
    return found


def is_whole(trial: FrozenTrial) -> bool:
    """Whether a trial was scored on every example, and is not the copy of one that was."""
    return value_of(trial) is not None and not {STOPPED, COPY_OF} & trial.user_attrs.keys()


def saved(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """What racing saved: trials that it stopped, items that were scored, and that there were.

    Copies of earlier trials do not count.
    """
    scored = [t for t in trials if value_of(t) is not None and COPY_OF not in t.user_attrs]
    per_trial = [sum(map(len, stored_scores(t).values())) for t in scored]
    seen = [t.user_attrs.get(STOPPED, n) for t, n in zip(scored, per_trial, strict=True)]
    stopped = sum(STOPPED in t.user_attrs for t in scored)
    return {"stopped": stopped, "items_scored": sum(seen), "items": sum(per_trial)}


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
    alpha: float
    top: int
    _strata: dict[Key, Stratum] = field(default_factory=dict)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    _seen: list[set[tuple[str, int]]] = field(default_factory=list)
    _stored: dict[int, Stored] = field(default_factory=dict)
    _race: Race = field(init=False)

    def __post_init__(self) -> None:
        total = sum(objective.weight for objective in self.objectives)
        for objective in self.objectives:
            examples = objective.examples("selection")
            self._places |= {(objective.name, e.id): i for i, e in enumerate(examples)}
            sizes: dict[str, int] = {}
            for example in examples:
                sizes[example.category] = sizes.get(example.category, 0) + 1
            for category, size in sizes.items():
                macro = 1 / len(sizes)
                share = macro if objective.average == "macro" else size / len(examples)
                weight = objective.weight / total * share
                self._strata[objective.name, category] = Stratum(weight, size)
        seen: set[tuple[str, int]] = set()
        for block in self.blocks:
            own = {
                (self.objectives[a.objective].name, self._place(a.objective, a.example.id))
                for a in block.asks
            }
            seen = seen | own
            self._seen.append(seen)
        ends = [*accumulate(len(block.asks) for block in self.blocks)]
        self._race = Race(self.alpha, tuple(end / ends[-1] for end in ends))

    def _place(self, objective: int, example: str) -> int:
        return self._places[self.objectives[objective].name, example]

    def _scores(self, trial: FrozenTrial) -> Stored:
        """A finished trial's scores, read from the ledger's text once."""
        if trial.number not in self._stored:
            self._stored[trial.number] = stored_scores(trial)
        return self._stored[trial.number]

    def verdict(
        self, block: int, sets: Sequence[ScoreSet], trials: Sequence[FrozenTrial]
    ) -> float | None:
        """What a candidate is worth if it stops after a block; None if it goes on.

        Args:
            block: index of the block just scored.
            sets: all its scores so far.
            trials: the search's finished trials.
        """
        whole = sorted(
            (t for t in trials if is_whole(t) and feasible(t)),
            key=lambda t: (-(t.value or 0), t.number),
        )
        if len(whole) < self.top or block >= len(self.blocks) - 1:
            return None
        rival = whole[self.top - 1]
        found = self._look(sets, self._scores(rival))
        items = sum(len(s.scores) for s in sets)
        if self.rule == "halving":
            stops = not self._survives(block, sets, trials)
        else:
            stops = self._race.stops(block, found, items)
        if not stops:
            return None
        return shrunk(found, rival.value or 0.0, [t.value or 0.0 for t in whole])

    def in_order(self, sets: Sequence[ScoreSet]) -> dict[str, list[float | None]]:
        """Scores of a stopped candidate in the order of the data."""
        found: dict[str, list[float | None]] = {}
        for objective, own in zip(self.objectives, sets, strict=True):
            known = {score.id: score.value for score in own.scores}
            found[objective.name] = [known.get(e.id) for e in objective.examples("selection")]
        return found

    def _look(self, sets: Sequence[ScoreSet], rival: Stored) -> Look:
        gaps: dict[Key, list[float]] = {key: [] for key in self._strata}
        for own in sets:
            theirs = rival[own.objective]
            for score in own.scores:
                other = theirs[self._places[own.objective, score.id]]
                gaps[own.objective, score.category].append(score.value - (other or 0.0))
        return look(list(self._strata.values()), list(gaps.values()))

    def _survives(
        self, block: int, sets: Sequence[ScoreSet], trials: Sequence[FrozenTrial]
    ) -> bool:
        """By halving: against all earlier trials, up to the same block."""
        own = self._look(sets, self._nothing()).difference
        peers = [self._prefix(t, block) for t in trials if value_of(t) is not None]
        return survives_halving(own, [peer for peer in peers if peer is not None])

    def _nothing(self) -> Stored:
        return {o.name: [0.0] * len(o.examples("selection")) for o in self.objectives}

    def _prefix(self, trial: FrozenTrial, block: int) -> float | None:
        """A trial's score up to a block, or None if it did not get there."""
        scores = self._scores(trial)
        gaps: dict[Key, list[float]] = {key: [] for key in self._strata}
        for objective in self.objectives:
            values = scores[objective.name]
            for i, example in enumerate(objective.examples("selection")):
                if (objective.name, i) in self._seen[block]:
                    value = values[i]
                    if value is None:
                        return None
                    gaps[objective.name, example.category].append(value)
        return look(list(self._strata.values()), list(gaps.values())).difference
