"""Evolution of merge boundaries: strengths of different parents come together in a child."""

import json

import numpy as np
from optuna.trial import FrozenTrial

from search.dimension import Choice, Coordinate, Dimension
from search.racing import STOPPED
from search.samplers import make_proposer
from tests.test_search import points, trial

PLACES = 6
SPACE: list[Coordinate] = [
    *(Dimension(f"w.{i}", 0.0, 1.0, 0.5, place=i) for i in range(PLACES)),
    Choice("kind", ("a", "b", "c"), "a"),
]


def items(params: dict[str, float | str]) -> list[float]:
    """Four items per place over depth, right where the place is near its best value."""
    best = [0.9, 0.1, 0.8, 0.2, 0.9, 0.1]
    gaps = [abs(float(params[f"w.{i}"]) - best[i]) for i in range(PLACES)]
    right = [float(gap < near) for gap in gaps for near in (0.5, 0.4, 0.3, 0.2)]
    return [*right, *([float(params["kind"] == "c")] * 3)]


def evolve(name: str, seed: int, count: int, restart: int = 10**9) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = []
    proposer = make_proposer(name, SPACE, seed)
    for number in range(count):
        if number % restart == 0:
            proposer = make_proposer(name, SPACE, seed)
        proposal = proposer.propose(trials)
        assert proposal is not None
        scores = items(dict(proposal.values))
        tags: dict[str, object] = {"scores": json.dumps({"o": scores})}
        if number % 17 == 3:
            tags = {"scores": json.dumps({"o": scores[:5]}), STOPPED: 5}
        trials.append(trial(number, proposal.values, float(np.mean(scores)), tags, SPACE))
    return trials


def test_the_archive_is_rebuilt_from_the_trials_and_passes_over_stopped_ones() -> None:
    assert points(evolve("m2n2", 1, 60)) == points(evolve("m2n2", 1, 60, restart=13))


def test_children_join_what_their_parents_are_good_at() -> None:
    def best(name: str) -> float:
        return float(np.mean([max(t.value or 0 for t in evolve(name, s, 120)) for s in range(5)]))

    assert best("m2n2") > best("random") + 0.04


def test_children_lie_in_the_space() -> None:
    for one in evolve("m2n2", 2, 60):
        assert all(0 <= one.params[f"w.{i}"] <= 1 for i in range(PLACES))
        assert one.params["kind"] in ("a", "b", "c")
