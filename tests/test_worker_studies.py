"""Studies through the coordinator: refined, averaged over seeds, at their end, out of time."""

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from merge_ops.recipe import Recipe
from objectives.records import ScoreSet
from search.dimension import Point
from search.in_flight import after_of, in_flight_at, serial_of
from search.naming import WARM
from search.stage import stage_of, stages
from studies.evaluator import count_test_reads
from studies.half_scored import END, HalfScored
from studies.journal import read_trials
from studies.paths import EVALUATION
from studies.run import run_study
from studies.setup import read_study
from studies.trial_facts import SEEDS
from studies.workers.job import Job
from studies.workers.protocol import Answer, Event, Piece
from studies.workers.remote import RemoteEvaluator
from studies.workers.simulated import SimulatedWorkers
from tests.simulated import Simulation, space
from tests.test_workers import named, steady, whole

Make = Callable[..., Path]
COMMON: dict[str, Any] = {
    "compare": False,
    "racing": {"block": 16},
    "sampler": "tpe",
    "warm_start": [],
}
REFINE = {"knobs": {"weight": [0.0, 1.5]}, "bands": 4, "refine": {"start": 1, "every": 3}}
SEEDED = {"knobs": {"weight": [0.1, 1.0]}, "average_seeds": 3}
KINDS: dict[str, dict[str, Any]] = {
    "refine": {"search": REFINE, "trials": 10},
    "seeds": {"search": SEEDED, "method": "dare_linear", "parameters": {"density": 0.5}},
}


@pytest.mark.parametrize("kind", ["seeds", pytest.param("refine", marks=pytest.mark.slow)])
def test_one_worker_is_the_study_of_one_process(
    small_study: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    found = []
    for out in ("local", "hired"):
        study = read_study(small_study("preference", out=f"{kind}-{out}", **COMMON, **KINDS[kind]))
        results = run_study(study)
        keys = ("digest", "scores", "source", SEEDS)
        told = [
            (t.params, t.value, [t.user_attrs.get(k) for k in keys], stage_of(t))
            for t in read_trials(study.out)
        ]
        assert all(t.user_attrs["memory"]["host"] > 2**20 for t in read_trials(study.out))
        keys = ("winner", "rows", "refined", "self_check")
        found.append([told, *(results[key] for key in keys)])
        record = json.loads((study.out / EVALUATION).read_text())
        own = record["workers"][0] if out == "hired" else record
        found[-1] += [own[key] for key in ("tokens_per_batch", "prompts_shared")]
        found[-1].append(record["blocks"])
        assert count_test_reads(study.out) == len(results["rows"])
        monkeypatch.setattr("studies.opening.points_left", lambda _: True)
    assert found[0] == found[1]


@pytest.mark.parametrize("sampler", ["tpe", "cma", "nsga2"])
def test_a_refined_search_is_replayed_from_its_ledger(tmp_path: Path, sampler: str) -> None:
    study = Simulation(tmp_path, sampler=sampler, trials=45, refine=9)
    ledger = study.run(steady(study, 5))
    whole(ledger, 45)
    assert [serial_of(t) for t in ledger.trials] != list(range(45))
    assert [count for _, count in stages(ledger.trials)][:-1] == [9] * (len(_numbers(ledger)) - 1)
    answer, plan, one = study.answers(), study.plan(), space()

    def confirm(point: Point) -> Sequence[ScoreSet]:
        pieces = plan.pieces(0, one.decode(point), "confirm", "main")
        return plan.sets(pieces, [answer(piece).scores for piece in pieces])

    for trial in ledger.trials[::4]:
        if trial.user_attrs["source"] != WARM:
            serial, after = serial_of(trial), after_of(trial)
            flying = in_flight_at(serial, after, ledger.trials)
            found = study.proposer(confirm).propose(ledger.trials[:after], flying)
            assert found is not None
            assert found.values == trial.params
            assert found.tags.items() <= trial.user_attrs.items()


def _numbers(ledger: Any) -> list[int]:
    return [stage.number for stage, _ in stages(ledger.trials)]


def test_a_stage_is_judged_when_all_of_it_is_told(tmp_path: Path) -> None:
    study = Simulation(tmp_path, sampler="random", trials=45, refine=9)
    trials = study.run(steady(study, 4)).trials
    own = [stage.number for t in trials if (stage := stage_of(t)) is not None]
    assert own == sorted(own)
    assert max(own) > 1
    for trial in trials:
        stage = stage_of(trial)
        earlier = [t for t in trials[: after_of(trial)] if stage_of(t) is not None]
        assert stage is None or len(earlier) >= 9 * stage.number


def test_seeds_are_shared_by_workers(tmp_path: Path) -> None:
    found = []
    for count in (1, 5):
        study = Simulation(tmp_path / str(count), sampler="qmc", trials=9, seeds=3)
        study.folder.mkdir()
        ledger = study.run(steady(study, count))
        whole(ledger, 9)
        found.append(sorted((str(t.params), t.user_attrs["scores"]) for t in ledger.trials))
    assert found[0] == found[1]
    assert "0.3333333333333333" in found[0][0][1]


def test_a_look_at_the_test_split_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studies.evaluator import log_test_read

    full = [True, True, False]

    def log(folder: Path, why: str, digest: str) -> None:
        if full.pop(0):
            raise OSError(errno.ENOSPC, "No space left on device")
        log_test_read(folder, why, digest)

    monkeypatch.setattr("studies.workers.remote.log_test_read", log)
    monkeypatch.setattr("studies.disk.time.sleep", lambda _: None)
    study = Simulation(tmp_path)
    evaluator = study.evaluator(steady(study, 2))
    evaluator.disk_wait = 60.0
    evaluator.score(recipe(), "test", why="a row")
    assert not full
    assert count_test_reads(tmp_path) == 1
    assert "there is room again" in capsys.readouterr().err


def recipe() -> Recipe:
    one = space()
    return one.decode({d.name: d.default for d in one.dimensions()})


class KilledError(Exception):
    """Stands for SIGKILL."""


def test_the_end_of_a_study_goes_on_behind_its_blocks(tmp_path: Path) -> None:
    """A killed study looks at no test example twice, and logs one look."""
    study = Simulation(tmp_path)
    answer, scored, left = study.answers(), list[int](), [2]

    class Dying(SimulatedWorkers):
        def events(self, seconds: float) -> Sequence[Event]:
            if left[0] == 0:
                raise KilledError
            left[0] -= 1
            found = SimulatedWorkers.events(self, seconds)
            scored.extend(event.piece.block for event in found if event.piece)
            return found

    def workers() -> Dying:
        return Dying(named(1), lambda _, piece: (1.0, answer(piece)))

    def evaluator() -> RemoteEvaluator:
        return replace(study.evaluator(workers()), kept=HalfScored(tmp_path, END))

    with pytest.raises(KilledError):
        evaluator().score(recipe(), "test", why="a row")
    left[0] = -1
    sets = evaluator().score(recipe(), "test", why="a row").sets
    assert sorted(scored) == [0, 1, 2, 3]
    assert count_test_reads(tmp_path) == 1
    plain = Simulation(tmp_path / "plain")
    assert sets == plain.evaluator(steady(plain, 1)).score(recipe(), "confirm").sets


def test_what_the_end_of_the_time_left_in_flight_is_no_longer_scored(tmp_path: Path) -> None:
    """Else the confirm split's first result would be another candidate's selection scores."""
    study = Simulation(tmp_path)
    answer, begun, ended = study.answers(), list[Piece](), list[Job]()

    def script(_: str, piece: Piece) -> tuple[float, Answer | None]:
        begun.append(piece)
        return 1.0, answer(piece)

    evaluator = study.evaluator(SimulatedWorkers(named(3), script))
    evaluator.scheduler.run(
        lambda: evaluator.job(recipe(), "selection"), ended.append, lambda: len(begun) > 6
    )
    assert not ended
    before = len(begun)
    evaluator.score(recipe(), "confirm")
    assert [piece.split for piece in begun[before:]] == ["confirm"] * 4
