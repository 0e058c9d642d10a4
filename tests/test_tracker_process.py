"""The tracker's own process: it serves one study, heeds no signals, and ends with the study."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from merge_ops.recipe import Recipe, Source
from search.depth import even_bands
from search.space import KnobRange, SearchSpace
from studies.particulars import Particulars, RecipeText
from studies.tracker_process import TrackerDiedError, TrackerProcess
from studies.tracking import Mirror
from studies.tracking_wire import Answer, Question, Task
from tests.tracked import SUMMARY, Store, ledger_of, outcome

MATH = "weight.math"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Store(tmp_path_factory.mktemp("runs"))


def until(what: Callable[[], bool], seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def trackers(parent: int | None = None) -> list[psutil.Process]:
    children = psutil.Process(parent).children()
    return [child for child in children if "tracker_process" in " ".join(child.cmdline())]


def test_a_tracker_that_dies_is_replaced_and_nothing_is_written_twice(store: Store) -> None:
    """Signals of a terminal do not reach it, and the recipe's text is made there."""
    ledger = ledger_of(store.folder / "killed", 2)
    template = Recipe("task_arithmetic", (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5)}
    space = SearchSpace(template, ("vlm", "math"), ranges, even_bands(2, 2))
    point = {dimension.name: 0.25 for dimension in space.dimensions()}
    text = RecipeText("killed", space, store.folder)
    for trial in ledger.trials:
        trial.params = point
    mirror = Mirror(store.uri, "killed", lambda: ledger.trials, {})
    mirror.start()
    mirror.describe(Particulars({"method": "ties"}, recipe_of=text))
    until(lambda: mirror.status().mirrored == 2)
    (first,) = trackers()
    for number in (signal.SIGINT, signal.SIGTERM):
        first.send_signal(number)
    assert os.getpgid(first.pid) != os.getpgid(0)
    ledger.tell(outcome(2))
    ledger.trials[2].params = point
    mirror.notify()
    until(lambda: mirror.status().mirrored == 3)
    assert mirror.status().errors == 0
    first.kill()
    ledger.tell(outcome(3))
    ledger.trials[3].params = point
    mirror.notify()
    status = mirror.finish(100.0, SUMMARY)
    assert (status.complete, status.mirrored, status.refused) == (True, 4, ""), repr(status)
    assert (status.errors, status.last_error) == (1, "the tracker's process ended by signal 9")
    runs = store.runs("killed")
    assert sorted(runs) == ["summary", *(f"trial-{n:04d}" for n in range(4))]
    path = store.folder / "mlartifacts" / runs["trial-0003"].info.run_id / "artifacts/recipe.yaml"
    assert path.read_text() == text(ledger.trials[3])
    assert not trackers(), "it must end with the study"


def test_a_study_that_waits_no_longer_ends_it(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "slow", 1)
    mirror = Mirror("http://127.0.0.1:9", "slow", lambda: ledger.trials, {})
    mirror.start()
    until(lambda: bool(trackers()))
    begun = time.monotonic()
    status = mirror.finish(0.2)
    assert time.monotonic() - begun < 1.0
    assert (status.complete, status.errors) == (False, 0)
    until(lambda: not trackers(), 10.0)


def test_what_stops_it_at_its_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.tracker_process._BEGIN", "raise ImportError('no mlflow here')")

    def answer(question: Question) -> Answer:
        raise AssertionError(question)

    with pytest.raises(TrackerDiedError, match="ended with code 1: ImportError: no mlflow here"):
        TrackerProcess().work(Task("", "", {}, system=False, start=0), answer)


STUDY = """
import sys, time
from studies.tracking import Mirror
mirror = Mirror(sys.argv[1], "orphan", lambda: (), {})
mirror.start()
time.sleep(600)
"""


def test_it_ends_when_the_study_is_killed(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", STUDY, store.uri], cwd=Path.cwd()) as study:
        until(lambda: bool(trackers(study.pid)))
        (tracker,) = trackers(study.pid)
        study.kill()
    until(lambda: not psutil.pid_exists(tracker.pid) or tracker.status() == "zombie")
