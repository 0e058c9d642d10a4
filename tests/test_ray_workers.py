"""Workers on Ray: the same study as in one process, on loopback alone, whatever dies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import FrozenTrial

from search.in_flight import serial_of
from studies.journal import read_trials
from studies.paths import EVALUATION
from studies.run import run_study
from studies.setup import read_study
from studies.workers.protocol import Order
from studies.workers.ray_cluster import connected
from studies.workers.ray_pool import RayPool
from studies.workers.ray_room import Room
from studies.workers.setup import Crew
from tests.simulated import Simulation
from tests.sleeping import sleeper

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own, in its threads
    pytest.mark.skipif(not find_spec("ray"), reason="the extra ray is not installed"),
]
MakeStudy = Callable[..., Path]
ORDER = Order("study.yaml", "out", {}, "here", "data")


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    """Ray on this machine, for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch, connected(None, 4) as module:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        yield module


def pool(module: Any, study: Simulation, workers: int | None, seconds: float) -> RayPool:
    return RayPool(module, sleeper(module, study.ids(), seconds), ORDER, Room(workers, 1, 0))


def whole(trials: Any, count: int) -> None:
    assert len(trials) == count
    assert sorted(map(serial_of, trials)) == list(range(count))


def facts(trials: Any) -> list[object]:
    return [(t.params, t.value, t.user_attrs["scores"], t.user_attrs["digest"]) for t in trials]


def test_only_loopback_is_listened_on(here: Any) -> None:
    assert here.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        for socket in process.net_connections("inet"):
            if socket.status == psutil.CONN_LISTEN:
                address = socket.laddr.ip.removeprefix("::ffff:")
                assert address in {"127.0.0.1", "::1"}, (process.name(), socket)


@pytest.mark.slow
def test_one_worker_is_the_study_of_one_process(
    here: Any, small_study: MakeStudy, demo_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"trials": 13, "racing": {"block": 8}, "compare": False, "sampler": "cma"}
    results = []
    for out, crew in (("alone", None), ("hired", Crew(1))):
        study = read_study(small_study("preference", out=out, **settings))
        results.append(run_study(study, crew=crew))
        results[-1]["trials"] = facts(read_trials(study.out))
        said = capfd.readouterr().err
        assert said.count("memory on cpu: ") == 1
        assert "scored again one by one, without shortcuts" in said
    assert here.is_initialized()
    record = json.loads((demo_folder / "hired" / EVALUATION).read_text())
    assert record["workers"][0]["device"] == "cpu"
    assert {block["block"] for block in record["blocks"]["selection"]} >= {0, 1}
    for key in ("trials", "winner", "rows", "self_check"):
        assert results[0][key] == results[1][key], key


@pytest.mark.slow
def test_killed_actors_cost_nothing_but_their_blocks(here: Any, tmp_path: Path) -> None:
    kills = _kill_while_running(here, tmp_path, kills=2, trials=8)
    assert kills == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)  # an actor's process takes seconds to start, on a busy machine many
def test_fifty_killed_actors(here: Any, tmp_path: Path) -> None:
    assert _kill_while_running(here, tmp_path, kills=50, trials=120, count=4) == 50


def _kill_while_running(here: Any, folder: Path, kills: int, trials: int, count: int = 2) -> int:
    """Every other trial ends one actor, at its block or between two."""
    study = Simulation(folder, sampler="random", trials=trials)
    workers = pool(here, study, count, 0.02)
    choose, killed = random.Random(0), list[str]()

    def on_trial(trial: FrozenTrial) -> None:
        alive = [w for w in workers._workers.values() if w.ready and w.name not in killed]
        if trial.number % 2 and len(killed) < kills and alive:
            one = choose.choice(alive)
            killed.append(one.name)
            here.kill(one.actor)

    try:
        ledger = study.run(workers, on_trial=on_trial)  # type: ignore[arg-type]
    finally:
        workers.close()
    whole(ledger.trials, trials)
    assert all(t.value is not None for t in ledger.trials)
    return workers.lost


@pytest.mark.slow
def test_a_refusal_ends_the_study_in_one_line(here: Any, small_study: MakeStudy) -> None:
    """What all workers refuse is the user's mistake, not a fault of nodes."""
    study = read_study(small_study("reasoning", out="refused", trials=3))
    from merge_ops.errors import UserError
    from studies.workers.ray_worker import actor_maker

    order = Order(str(study.file.path), str(study.out), {}, "here", "other data")
    workers = RayPool(here, actor_maker(here), order, Room(1, 1, 0))
    with pytest.raises(UserError, match="gives other examples than the coordinator's on here"):
        workers.open()
    workers.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_coordinator_is_taken_up_by_the_same_command(small_study: MakeStudy) -> None:
    path = small_study(
        "reasoning", out="killed", trials=24, racing={"block": 8}, compare=False, sampler="cma"
    )
    command = [sys.executable, "-m", "studies.cli", "run", str(path), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    agents = []
    for target in (3, 8, 14):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        _wait_for_trials(path, target, process)
        children = psutil.Process(process.pid).children(recursive=True)
        actors = [p for p in children if "BenchActor" in p.name()]
        assert actors
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, left = psutil.wait_procs(actors, timeout=120)
        assert not left, "what holds a model ends with the coordinator"
        agents += [p for p in children if p not in actors]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    whole(read_trials(read_study(path).out), 24)
    _, left = psutil.wait_procs(agents, timeout=300)  # Ray's agents look for their parent at times
    assert not left, "all of Ray's processes end with the coordinator"


def _wait_for_trials(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    journal = read_study(path).out / "ledger.journal"
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        if journal.is_file() and len(read_trials(journal.parent)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"never came to {count} trials")


@pytest.mark.slow
def test_nodes_leave_and_join(tmp_path: Path) -> None:
    """In a process of its own: Ray's cluster utility and a fixture's Ray do not share one."""
    code = f"import tests.leaving; tests.leaving.main({str(tmp_path)!r})"
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    whole(read_trials(tmp_path), 60)
