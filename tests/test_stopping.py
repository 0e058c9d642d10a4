"""How a study ends before its time: signals, changed files, full disks, failures, other owners."""

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend

from merge_ops.errors import UserError
from objectives.evaluation import BlockScores
from objectives.records import ExampleScore, ScoreSet
from search.dimension import Dimension
from studies.changes import SETTINGS
from studies.half_scored import Part
from studies.ledger import Ledger, Outcome, read_trials
from studies.owner import LOCK, sole_writer
from studies.run import run_study
from studies.setup import read_study
from tests.forked import Forked, start

MakeStudy = Callable[..., Path]
DIMENSIONS = [Dimension("w", 0.0, 1.0, 0.5)]
SETS = (ScoreSet("o", "micro", 1.0, (ExampleScore("x", 1.0, "c"),)),)


def outcome(w: float) -> Outcome:
    return Outcome({"w": w}, f"d{w}", "tpe", SETS, 0.5, "", {"score": 0.1})


@pytest.fixture(scope="module")
def warm(small_study: MakeStudy) -> None:
    """Everything that a study imports is imported, so that forks of this process are quick."""
    run_study(read_study(small_study("preference", out="warm", trials=1, compare=False)))


def running(small_study: MakeStudy, out: str, **changes: Any) -> tuple[Path, Forked]:
    """A study of many trials, two of which are done."""
    path = small_study("preference", out=out, trials=500, compare=False, **changes)
    forked = start(path)
    forked.wait_for_trials(2)
    return path, forked


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_the_first_signal_lets_the_running_block_finish(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    put = Part.put

    def slowly(self: Part, index: int, scores: BlockScores) -> None:
        time.sleep(0.2 if index >= 3 else 0.0)
        put(self, index, scores)

    monkeypatch.setattr(Part, "put", slowly)
    path, forked = running(small_study, f"first-{code}", racing={"rule": "off", "block": 2})
    time.sleep(0.5)  # in the middle of a trial of twelve blocks, nine of which are slow
    begun = time.monotonic()
    os.kill(forked.pid, number)
    assert forked.wait() == code
    assert time.monotonic() - begun < 5.0
    said = forked.said.read_text()
    assert "Stopping after the running block of items" in said
    assert f"to go on from here: mergetuna run {path}" in said
    assert "Traceback" not in said
    out = read_study(path).out
    assert len(read_trials(out)) == 2 + forked.count()
    (half,) = out.glob("half-scored-*")
    assert (out / LOCK).read_text() == ""
    stored = len(half.read_bytes().splitlines())
    assert stored >= 3
    again = start(path)
    again.wait_for_trials(2)  # the file goes just after the trial is told
    os.kill(again.pid, signal.SIGKILL)
    again.wait()
    assert f"trial 2 goes on behind {stored} blocks" in again.said.read_text()
    assert not half.exists()
    assert not (out / "results.json").exists()


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_the_second_signal_stops_now(
    small_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    from studies.evaluator import Evaluator

    score = Evaluator.score

    def slow(*arguments: Any, **keys: Any) -> Any:
        scored = score(*arguments, **keys)
        time.sleep(30 if len(list(marks.iterdir())) > 1 else 0)
        (marks / str(time.monotonic_ns())).touch()
        return scored

    path = small_study("preference", out=f"second-{code}", trials=9, compare=False)
    marks = path.parent / f"marks-{code}"
    marks.mkdir()
    monkeypatch.setattr(Evaluator, "score", slow)
    forked = start(path)
    forked.wait_for_trials(2)
    time.sleep(0.2)
    os.kill(forked.pid, number)
    time.sleep(0.2)
    begun = time.monotonic()
    os.kill(forked.pid, number)
    assert forked.wait() == code
    assert time.monotonic() - begun < 10
    assert len(read_trials(read_study(path).out)) == 2


@pytest.mark.usefixtures("warm")
def test_a_changed_file_says_what_changed_and_where(small_study: MakeStudy) -> None:
    first = small_study("preference", out="changed", trials=1, compare=False)
    study = read_study(first)
    run_study(study)
    kept = (study.out / SETTINGS).read_text()
    longer = read_study(small_study("preference", out="changed", trials=2, compare=False))
    with pytest.raises(UserError) as safe:
        run_study(longer)
    place, text, advice = str(safe.value).partition(": budget.trials: was 1, is now 2")
    assert text
    assert place.startswith(f"{first}:")
    assert "--accept-changes goes on" in advice
    assert run_study(longer, accept_changes=True)["trials"] == 2
    assert json.loads((study.out / SETTINGS).read_text())["budget"]["trials"] == 2
    other = read_study(
        small_study("preference", out="changed", trials=3, compare=False, seed=7, confirm_top=1)
    )
    for accept in (False, True):
        with pytest.raises(UserError) as grave:
            run_study(other, accept_changes=accept)
        said = str(grave.value)
        assert "seed: was 0, is now 7; this changes what trials are" in said
        assert "confirm_top: was 2, is now 1" in said
        assert said.endswith("choose another `out` folder.")
    assert kept != (study.out / SETTINGS).read_text()
    assert len(read_trials(study.out)) == 2


def test_a_full_disk_is_waited_for_and_nothing_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS, disk_wait=60)
    ledger.tell(outcome(0.1))
    append, left = JournalFileBackend.append_logs, [3]

    def full(backend: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if left[0]:
            left[0] -= 1
            if left[0] == 1:
                append(backend, logs)  # the line arrived, and the disk said no when it was synced
            else:
                with (tmp_path / "ledger.journal").open("a") as stream:
                    stream.write(json.dumps(logs)[:40])
            raise OSError(errno.ENOSPC, "No space left on device")
        append(backend, logs)

    pauses: list[float] = []
    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    monkeypatch.setattr("studies.disk.time.sleep", pauses.append)
    ledger.tell(outcome(0.2))
    assert len(pauses) == 3
    said = capfd.readouterr().err
    assert said.count("its disk is full; waiting up to 60 s") == 1
    assert "there is room again" in said
    ledger.tell(outcome(0.3))
    assert [t.params["w"] for t in ledger.trials] == [0.1, 0.2, 0.3]
    assert [t.params["w"] for t in read_trials(tmp_path)] == [0.1, 0.2, 0.3]


def test_a_disk_that_stays_full_ends_the_study_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS, disk_wait=0.05)
    ledger.tell(outcome(0.1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(UserError, match=r"had no room for 0\.05 s"):
            ledger.tell(outcome(0.2))
    assert [t.params["w"] for t in read_trials(tmp_path)] == [0.1]


def test_other_faults_of_a_disk_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS, disk_wait=60)

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(JournalFileBackend, "append_logs", broken)
    with pytest.raises(OSError, match="Input/output"):
        ledger.tell(outcome(0.2))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_fails_its_trial_with_the_reason(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    from studies.evaluator import Evaluator, Scored

    score, calls = Evaluator.score, [0]

    def sometimes(*arguments: Any, **keys: Any) -> Scored:
        scored = score(*arguments, **keys)
        calls[0] += 1
        if calls[0] != 2:
            return scored
        return Scored((ScoreSet("p", "micro", 1.0, (ExampleScore("x7", bad, "c"),)),), {})

    monkeypatch.setattr(Evaluator, "score", sometimes)
    path = small_study("preference", out=f"nan-{bad}", trials=3, compare=False)
    study = read_study(path)
    assert run_study(study)["failed_trials"] == 1
    reason = read_trials(study.out)[1].user_attrs["reason"]
    assert reason == f"p: scores must be finite, but example 'x7' got {bad}"


def test_the_lock_names_its_owner(tmp_path: Path) -> None:
    with sole_writer(tmp_path):
        owner = json.loads((tmp_path / LOCK).read_text())
        assert owner["pid"] == os.getpid()
        assert owner["host"] == socket.gethostname()
        with (
            pytest.raises(UserError, match=rf"process {os.getpid()} on .*last sign of life"),
            sole_writer(tmp_path),
        ):
            pass
    assert (tmp_path / LOCK).read_text() == ""


def test_the_lock_of_a_dead_process_is_taken_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    owner = {"pid": 2**22 + 1, "host": socket.gethostname(), "since": "then"}
    (tmp_path / LOCK).write_text(json.dumps(owner))
    with sole_writer(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert "taking over from a process that died (process 4194305" in capfd.readouterr().err


@pytest.mark.parametrize(("age", "taken"), [(5, False), (3600, True)])
def test_an_owner_on_another_machine_is_believed_while_it_gives_signs_of_life(
    tmp_path: Path, age: float, taken: bool
) -> None:
    lock = tmp_path / LOCK
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere.example", "since": "then"}))
    os.utime(lock, (time.time() - age, time.time() - age))
    if taken:
        with sole_writer(tmp_path):
            pass
        return
    with (
        pytest.raises(UserError, match=r"another machine is running this study .*elsewhere"),
        sole_writer(tmp_path),
    ):
        pass


def test_the_lock_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.owner._BEAT", 0.02)
    with sole_writer(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        time.sleep(0.3)
        assert time.time() - (tmp_path / LOCK).stat().st_mtime < 60


@pytest.mark.parametrize("name", [LOCK, "ledger.journal"])
def test_files_that_are_links_are_not_written_through(tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("weights")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError), sole_writer(tmp_path / "out"):
        Ledger(tmp_path / "out", "search", DIMENSIONS)
    assert (tmp_path / "precious").read_text() == "weights"
