"""Proposers with several points in flight: reproducible from the order of results alone."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.dimension import Choice, Coordinate, Dimension
from search.in_flight import AFTER, SERIAL, Pending, after_of, in_flight_at, serial_of
from search.optuna_proposer import distribution
from search.proposer import Proposal, Proposer
from search.samplers import make_proposer, resolve_sampler

DIMENSIONS: list[Coordinate] = [Dimension(f"w{i}", -1.0, 2.0, 1.0) for i in range(4)]
LISTED: list[Coordinate] = [*DIMENSIONS, Choice("normalize", (True, False), True)]
BUDGET, WORKERS = 60, 5
CASES = [("tpe", LISTED), ("cma", LISTED), ("nsga2", LISTED), ("m2n2", LISTED)]
CASES += [("qmc", LISTED), ("random", LISTED), ("grid", DIMENSIONS)]


def score(values: object) -> float | None:
    """Higher near 0.3; some points fail."""
    assert isinstance(values, dict)
    if values["w0"] > 1.9:
        return None
    return float(1 - sum((values[f"w{i}"] - 0.3) ** 2 for i in range(4)) / 20)


def told(point: Pending, number: int, kind: str = "plain") -> FrozenTrial:
    """A result: one figure, one under a guard, or two figures that disagree."""
    value = score(point.values)
    values = None if value is None or kind != "front" else [value, 1 - value]
    guards = {"g": float(point.values["w1"]) - 0.5} if value is not None else {}
    listed = [d for d in LISTED if d.name in point.values]
    attributes: dict[str, Any] = {**point.tags, SERIAL: point.serial, AFTER: point.after}
    if value is not None:  # items that grow harder, for the sampler that looks at them
        attributes["scores"] = json.dumps({"o": [float(value > i / 8) for i in range(8)]})
    made = create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value if values is None else None,
        values=values,
        params=dict(point.values),
        distributions={d.name: distribution(d) for d in listed},
        user_attrs=attributes,
        constraints=guards if kind == "guards" else None,
    )
    made.number = number
    return made


def search(
    make: Callable[[], Proposer],
    workers: int,
    *,
    warm: int = 0,
    forget: int = 10**9,
    seed: int = 1,
    kind: str = "plain",
) -> list[FrozenTrial]:
    """A search whose results come in a random order; it forgets its proposer every so often."""
    order, proposer = random.Random(seed), make()
    trials, pending = list[FrozenTrial](), list[Pending]()
    while len(trials) < BUDGET:
        while len(pending) < workers and len(trials) + len(pending) < BUDGET:
            serial = len(trials) + len(pending)
            if serial % forget == 0:
                proposer = make()
            if serial < warm:
                found: Proposal | None = Proposal({d.name: 0.1 * serial for d in DIMENSIONS})
            else:
                found = proposer.propose(list(trials), list(pending))
            assert found is not None
            pending.append(Pending(serial, len(trials), found.values, found.tags))
        trials.append(told(pending.pop(order.randrange(len(pending))), len(trials), kind))
    return trials


def points(trials: list[FrozenTrial]) -> list[object]:
    return [(serial_of(t), t.params) for t in trials]


@pytest.mark.parametrize(("name", "dimensions"), CASES)
def test_a_search_is_replayed_from_the_order_of_its_results(
    name: str, dimensions: list[Coordinate]
) -> None:
    def make() -> Proposer:
        return make_proposer(name, dimensions, 3, 81)

    trials = search(make, WORKERS)
    assert sorted(map(serial_of, trials)) == list(range(BUDGET))
    assert [serial_of(t) for t in trials] != list(range(BUDGET))
    for trial in trials[:: 7 if name == "tpe" else 3]:
        serial, after = serial_of(trial), after_of(trial)
        found = make().propose(trials[:after], in_flight_at(serial, after, trials))
        assert found is not None
        assert found.values == trial.params, f"proposal {serial} after {after} trials"


@pytest.mark.parametrize(("name", "dimensions"), CASES)
def test_forgetting_the_proposer_changes_nothing(name: str, dimensions: list[Coordinate]) -> None:
    def make() -> Proposer:
        return make_proposer(name, dimensions, 3, 81)

    assert points(search(make, WORKERS, forget=11)) == points(search(make, WORKERS))


@pytest.mark.parametrize("kind", ["guards", "front"])
@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_constraints_and_values_of_what_was_in_flight_are_not_lost(name: str, kind: str) -> None:
    """A point that was seen in flight counts as one that is read from the ledger does."""

    def make() -> Proposer:
        return make_proposer(name, LISTED, 3, 81, 2 if kind == "front" else 1)

    trials = search(make, WORKERS, kind=kind)
    assert points(search(make, WORKERS, forget=11, kind=kind)) == points(trials)
    if (name, kind) == ("tpe", "guards"):
        late = [float(t.params["w1"]) < 0.5 for t in trials[BUDGET // 2 :]]
        assert sum(late) > 0.7 * len(late)  # half of the space is


@pytest.mark.parametrize("name", ["tpe", "nsga2", "gp"])
@pytest.mark.parametrize("kind", ["guards", "front"])
def test_a_proposer_in_memory_knows_all_constraints_and_values(name: str, kind: str) -> None:
    proposer = make_proposer(name, DIMENSIONS, 3, 10, 2 if kind == "front" else 1)
    first = [proposer.propose([], [])]
    assert first[0] is not None
    flying = [Pending(0, 0, first[0].values, first[0].tags)]
    assert proposer.propose([], flying) is not None
    done = told(flying[0], 0, kind)
    proposer.propose([done])
    known = [t for t in proposer._study.get_trials() if t.values]  # type: ignore[attr-defined]
    assert [(t.values, t.constraints) for t in known] == [(done.values, done.constraints)]


@pytest.mark.parametrize(("name", "dimensions"), CASES)
def test_one_worker_walks_the_local_path(name: str, dimensions: list[Coordinate]) -> None:
    proposer, trials = make_proposer(name, dimensions, 3, 81), list[FrozenTrial]()
    for number in range(BUDGET):
        found = proposer.propose(trials)
        assert found is not None
        trial = told(Pending(number, number, found.values, found.tags), number)
        for key in (SERIAL, AFTER):
            del trial.user_attrs[key]
        trials.append(trial)
    alone = search(lambda: make_proposer(name, dimensions, 3, 81), 1)
    assert [t.params for t in alone] == [t.params for t in trials]


@pytest.mark.parametrize("name", ["tpe", "cma", "nsga2"])
def test_first_points_may_come_late(name: str) -> None:
    """Warm starts that are still being scored when a sampler begins."""

    def make() -> Proposer:
        return make_proposer(name, DIMENSIONS, 3, BUDGET)

    trials = search(make, WORKERS, warm=8)
    assert any(serial_of(t) < 8 and t.number > 8 for t in trials)
    assert points(search(make, WORKERS, warm=8, forget=7)) == points(trials)


def test_workers_do_not_crowd() -> None:
    """Without a word of what is in flight, a surrogate would propose nearly one point for all."""
    trials = search(lambda: make_proposer("random", DIMENSIONS, 3, BUDGET), 1)[:20]
    proposer, pending = make_proposer("gp", DIMENSIONS, 3, BUDGET), list[Pending]()
    for serial in range(20, 23):
        found = proposer.propose(trials, list(pending))
        assert found is not None
        pending.append(Pending(serial, 20, found.values, found.tags))
    for i, one in enumerate(pending):
        for other in pending[:i]:
            gap = max(abs(float(one.values[k]) - float(other.values[k])) for k in one.values)
            assert gap > 0.05


def test_auto_takes_a_quick_sampler_for_many_workers() -> None:
    assert [resolve_sampler("auto", DIMENSIONS, 100, workers=n) for n in (1, 8, 9)] == [
        *("gp", "gp"),
        "cma",
    ]


def test_late_results_do_not_lead_cma_astray() -> None:
    """Four times as many workers as members of a generation, and still near the optimum."""
    dimensions = DIMENSIONS
    best = max(
        t.value or 0.0
        for t in search(lambda: make_proposer("cma", dimensions, 3, BUDGET), 4 * 8, seed=2)
    )
    assert best > 0.9
