"""The coordinator on workers that only pass the time: order, help, deaths, hangs, going on."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from search.in_flight import after_of, in_flight_at, serial_of
from search.naming import WARM
from search.samplers import make_proposer
from studies.interruption import Interruption, Stopped
from studies.ledger import Ledger
from studies.trial_facts import guards_of
from studies.workers.protocol import Answer, Event, Piece
from studies.workers.scheduler import AT_ONCE, Patience
from studies.workers.simulated import SimulatedWorkers
from tests.simulated import Simulation, space


def named(count: int) -> list[str]:
    return [f"w{i}" for i in range(count)]


def steady(study: Simulation, count: int) -> SimulatedWorkers:
    """Workers of different, fixed speeds."""
    answer = study.answers()
    speed = {name: 1 + 0.37 * i for i, name in enumerate(named(count))}

    def script(worker: str, piece: Piece) -> tuple[float, Answer | None]:
        return speed[worker], answer(piece)

    return SimulatedWorkers(named(count), script)


def contents(trials: Sequence[FrozenTrial]) -> list[object]:
    keys = ("digest", "scores", "source")
    return [(t.params, t.value, *(t.user_attrs.get(k) for k in keys)) for t in trials]


def whole(ledger: Ledger, count: int) -> None:
    """Nothing lost, nothing doubled."""
    assert sorted(map(serial_of, ledger.trials)) == list(range(count))
    assert len(ledger.trials) == count
    assert not list(ledger.folder.glob("half-scored-*"))
    assert not list(ledger.folder.glob("*points*"))


@pytest.mark.parametrize("rule", ["off", "test"])
@pytest.mark.parametrize("sampler", ["tpe", "cma"])
def test_the_search_is_replayed_from_its_ledger(tmp_path: Path, sampler: str, rule: str) -> None:
    study = Simulation(tmp_path, sampler=sampler, rule=rule)
    ledger = study.run(steady(study, 5))
    whole(ledger, study.trials)
    assert [serial_of(t) for t in ledger.trials] != list(range(study.trials))
    dimensions = space().dimensions()
    for trial in ledger.trials[::6]:
        if trial.user_attrs["source"] == WARM:
            continue
        serial, after = serial_of(trial), after_of(trial)
        proposer = make_proposer(sampler, dimensions, 0, study.trials)
        found = proposer.propose(ledger.trials[:after], in_flight_at(serial, after, ledger.trials))
        assert found is not None
        assert found.values == trial.params


@pytest.mark.parametrize("second", ["guard", "front"])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_guards_and_fronts_survive_two_workers(tmp_path: Path, sampler: str, second: str) -> None:
    """Constraints and several values reach the ledger, and the sampler from there."""
    study = Simulation(tmp_path, sampler=sampler, trials=30, second=second)
    ledger = study.run(steady(study, 2))
    whole(ledger, 30)
    for trial in ledger.trials:
        shares = trial.user_attrs["figures"]
        assert shares["guess"] + shares["other"] == pytest.approx(1.0)
        if second == "front":
            assert trial.values == pytest.approx([shares["guess"], shares["other"]])
        else:
            assert trial.value == pytest.approx(shares["guess"])
            assert trial.constraints == {"other": guards_of(trial)["other"]["constraint"]}
            assert trial.constraints["other"] >= 0.3 - shares["other"]  # of its lower end
    for trial in ledger.trials[::4]:
        if trial.user_attrs["source"] != WARM:
            serial, after = serial_of(trial), after_of(trial)
            flying = in_flight_at(serial, after, ledger.trials)
            proposer = make_proposer(sampler, space().dimensions(), 0, 30, len(trial.values))
            found = proposer.propose(ledger.trials[:after], flying)
            assert found is not None
            assert found.values == trial.params


def test_a_trial_scores_the_same_however_many_share_it(tmp_path: Path) -> None:
    """At the end of the budget the blocks of one candidate are scored by several."""
    found = []
    for count in (1, 7):
        study = Simulation(tmp_path / str(count), sampler="qmc", trials=9)
        study.folder.mkdir()
        workers = steady(study, count)
        ledger = study.run(workers)
        whole(ledger, 9)
        found.append(sorted(contents(ledger.trials), key=str))
    assert found[0] == found[1]


def test_nobody_is_idle_while_blocks_are_left(tmp_path: Path) -> None:
    """Ten trials of 4 blocks, 8 equal workers: 40 blocks take 5 rounds, not 8."""
    study = Simulation(tmp_path, sampler="random", trials=10)
    answer = study.answers()
    workers = SimulatedWorkers(named(8), lambda _, piece: (1.0, answer(piece)))
    study.run(workers)
    assert workers.clock == pytest.approx(5.0)


def test_a_slow_worker_gets_fewer_blocks(tmp_path: Path) -> None:
    study = Simulation(tmp_path, sampler="random", trials=20)
    answer, got = study.answers(), Counter[str]()

    def script(worker: str, piece: Piece) -> tuple[float, Answer | None]:
        got[worker] += 1
        return (8.0 if worker == "w0" else 1.0), answer(piece)

    workers = SimulatedWorkers(named(3), script)
    whole(study.run(workers), 20)
    assert got["w0"] < got["w1"] / 4
    assert workers.clock < 1.25 * 80 / (2 + 1 / 8)


def test_fifty_deaths_lose_and_double_nothing(tmp_path: Path) -> None:
    study = Simulation(tmp_path, trials=30)
    answer, deaths = study.answers(), random.Random(0)
    died = Counter[str]()

    def script(worker: str, piece: Piece) -> tuple[float, Answer | None]:
        if died.total() < 50 and deaths.random() < 0.35:
            died[worker] += 1
            return deaths.random(), None
        return 1.0, answer(piece)

    ledger = study.run(SimulatedWorkers(named(4), script))
    assert died.total() == 50
    whole(ledger, 30)
    failed = [t for t in ledger.trials if t.value is None]
    assert all("5 workers were lost over the same block" in t.user_attrs["reason"] for t in failed)
    assert len(failed) <= 3


def test_a_block_that_kills_all_its_workers_fails_its_trial_alone(tmp_path: Path) -> None:
    study = Simulation(tmp_path, sampler="qmc", trials=12)
    answer, poison = study.answers(), set[str]()

    def script(_: str, piece: Piece) -> tuple[float, Answer | None]:
        point = str(piece.recipe.models)
        if not poison and piece.job == 5:
            poison.add(point)
        return 1.0, None if point in poison else answer(piece)

    ledger = study.run(SimulatedWorkers(named(3), script))
    whole(ledger, 12)
    assert [t.value is None for t in ledger.trials].count(True) == 1


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    study = Simulation(tmp_path, trials=12)
    answer, hung = study.answers(), list[str]()

    def script(worker: str, piece: Piece) -> tuple[float, Answer | None]:
        if worker == "w1" and piece.job > 3:
            hung.append(worker)
            return 1e9, answer(piece)
        return 1.0, answer(piece)

    workers = SimulatedWorkers(named(3), script)
    ledger = study.run(workers, patience=Patience(60, 20, 10))
    whole(ledger, 12)
    assert set(hung) == {"w1"}
    assert workers.clock < 120


def counting(study: Simulation, seconds: float, sizes: list[tuple[int, int]]) -> SimulatedWorkers:
    """Three that note of which job they are given how many pieces."""
    answer = study.answers()

    class Counting(SimulatedWorkers):
        def give(self, worker: str, pieces: Sequence[Piece]) -> None:
            sizes.append((pieces[0].job, len(pieces)))
            SimulatedWorkers.give(self, worker, pieces)

    return Counting(named(3), lambda _, piece: (seconds, answer(piece)))


@pytest.mark.parametrize(("rule", "seconds"), [("off", 1.0), ("off", 11.0), ("test", 1.0)])
def test_quick_blocks_are_given_together_while_there_are_trials_for_all(
    tmp_path: Path, rule: str, seconds: float
) -> None:
    """At most 20 seconds' worth; one by one where racing may stop them, and at the end."""
    study = Simulation(tmp_path, sampler="random", trials=30, rule=rule)
    sizes = list[tuple[int, int]]()
    whole(study.run(counting(study, seconds, sizes)), 30)
    together = [size for _, size in sizes if size > 1]
    assert bool(together) == (rule == "off" and seconds == 1.0)
    if together:
        assert max(together) == 4
        assert sum(size for _, size in sizes) == 30 * 4
        assert all(size == 1 for job, size in sizes if job >= 28)


def test_shortly_before_the_time_is_over_blocks_are_given_one_by_one(tmp_path: Path) -> None:
    """So that the last ends within one block of it."""
    study = Simulation(tmp_path, sampler="random", trials=30)
    sizes = list[tuple[int, int]]()
    study.run(counting(study, 1.0, sizes), deadline=time.monotonic() + AT_ONCE - 1)
    assert {size for _, size in sizes} == {1}
    sizes.clear()
    (tmp_path / "other").mkdir()
    replace(study, folder=tmp_path / "other").run(
        counting(study, 1.0, sizes), deadline=time.monotonic() + 1000
    )
    assert max(size for _, size in sizes) == 4


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the coordinator runs after it."""


@pytest.mark.parametrize("sampler", ["tpe", "cma"])
@pytest.mark.parametrize("forced", [3, 17, 41])
def test_a_killed_coordinator_goes_on(tmp_path: Path, forced: int, sampler: str) -> None:
    """No point is proposed anew, no scored block is scored again, no trial is told twice."""
    study = Simulation(tmp_path, sampler=sampler, trials=20)
    answer, scored = study.answers(), Counter[tuple[str, int]]()

    class Dying(SimulatedWorkers):
        """Ends the process after so many results."""

        left: int = forced

        def events(self, seconds: float) -> Sequence[Event]:
            if Dying.left <= 0:
                raise KilledError
            found = SimulatedWorkers.events(self, seconds)
            Dying.left -= len(found)
            for event in found:
                assert event.piece is not None
                scored[str(event.piece.recipe.models), event.piece.block] += 1
            return found

    script = steady(study, 4).script
    with pytest.raises(KilledError):
        study.run(Dying(named(4), script))
    Dying.left = 10**9
    ledger = study.run(Dying(named(4), script))
    whole(ledger, 20)
    assert max(scored.values()) == 1
    assert len(scored) == 20 * 4
    assert answer is not None


def test_a_signal_ends_it_behind_the_running_blocks(tmp_path: Path) -> None:
    study = Simulation(tmp_path, trials=20)
    interruption = Interruption()

    def on_trial(trial: object) -> None:
        assert isinstance(trial, FrozenTrial)
        if trial.number == 7:
            interruption._asked = 2

    answer = study.answers()
    workers = SimulatedWorkers(named(4), lambda _, piece: (11.0, answer(piece)))  # one at a time
    with pytest.raises(Stopped):
        study.run(workers, on_trial=on_trial, interruption=interruption)
    assert not workers._queue
    kept = list(tmp_path.glob("half-scored-*"))
    assert kept
    whole(study.run(steady(study, 4)), 20)


def test_one_simulated_worker_scores_one_point_at_a_time(tmp_path: Path) -> None:
    study = Simulation(tmp_path, trials=15)
    ledger = study.run(steady(study, 1))
    assert [serial_of(t) for t in ledger.trials] == list(range(15))
    assert [after_of(t) for t in ledger.trials] == list(range(15))
