"""How a study stands, told from another process: while it runs, after a crash, in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from typer.testing import CliRunner

from merge_ops.errors import UserError
from objectives.records import ExampleScore, ScoreSet
from objectives.statistics import interval
from search.dimension import Choice, Coordinate, Dimension, Point
from search.racing import STOPPED
from studies import cli
from studies.holder import holder
from studies.journal import read_journal
from studies.ledger import GLOBAL, JOURNAL, SEARCH, Ledger, Outcome, read_trials
from studies.mending import mend
from studies.owner import sole_writer
from studies.status import read_status
from tests.tracked import ledger_of

HOLD = """
import sys, time
from pathlib import Path
from studies.owner import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def about(folder: Path, **changes: object) -> None:
    known = {
        "study": "night",
        "trials": 10,
        "timeout_s": None,
        "searches": 1,
        "experts": ["math"],
        "objectives": {
            "vqa": {"average": "macro", "weight": 1.0, "categories": ["kind 0", "kind 1"]}
        },
    }
    (folder / "about.json").write_text(json.dumps({**known, **changes}))


def test_a_journal_reads_as_optuna_reads_it(tmp_path: Path) -> None:
    dimensions: list[Coordinate] = [
        Dimension("weight.math.0", 0.1, 9.0, 1.0, log=True),
        Choice("rule", ("sum", "count"), "sum"),
    ]
    for name in (SEARCH, GLOBAL, SEARCH):
        ledger = Ledger(tmp_path, name, dimensions)
        for value in (0.5, None):
            sets = (ScoreSet("vqa", "micro", 1.0, (ExampleScore("0", 0.5, "c"),)),)
            point: Point = {"weight.math.0": 0.5, "rule": "count"}
            ledger.tell(Outcome(point, "d", "tpe", sets, value, "why", {"score": 1.0}, {"k": 3}))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL)))
    for name, count in {SEARCH: 4, GLOBAL: 2}.items():
        theirs = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
        ours = read_trials(tmp_path, name)
        assert len(ours) == count
        for a, b in zip(ours, theirs, strict=True):
            for key in ("number", "state", "values", "params", "distributions", "user_attrs"):
                assert getattr(a, key) == getattr(b, key), key
            assert (a.datetime_start, a.datetime_complete) == (
                b.datetime_start,
                b.datetime_complete,
            )


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "wor', b'{"op', b"\x00" * 9])
def test_a_torn_last_line_is_told_and_left_as_it_is(tmp_path: Path, torn: bytes) -> None:
    ledger_of(tmp_path, 3)
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(torn)
    before = content(tmp_path)
    found = read_status(tmp_path)
    assert (len(found.trials), found.torn, found.state) == (3, True, "stopped")
    assert "torn" in CliRunner().invoke(cli.app, ["status", str(tmp_path)]).stdout
    assert content(tmp_path) == before
    mend(tmp_path / JOURNAL)
    assert not read_journal(tmp_path / JOURNAL).torn


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"op_code": 4}', '{"op_code": 4, "study_id": 7, "state": 1}']
)
def test_what_is_no_journal_is_a_users_mistake_with_its_line(tmp_path: Path, line: str) -> None:
    ledger_of(tmp_path, 1)
    with (tmp_path / JOURNAL).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UserError, match=rf"{JOURNAL}:\d+: "):
        read_status(tmp_path)


def test_who_runs_a_study_is_told_until_it_is_killed(tmp_path: Path) -> None:
    ledger_of(tmp_path, 2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        before = content(tmp_path)
        found = read_status(tmp_path)
        assert found.state == "running"
        assert found.holder is not None
        assert found.holder.pid == child.pid
        assert abs((found.holder.since or 0) - time.time()) < 120
        assert (
            f"process {child.pid}" in CliRunner().invoke(cli.app, ["status", str(tmp_path)]).stdout
        )
        assert content(tmp_path) == before
        child.send_signal(signal.SIGKILL)
    assert read_status(tmp_path).state == "stopped"
    assert holder(tmp_path) is None
    with sole_writer(tmp_path):  # and the folder can be taken again
        assert read_status(tmp_path).state == "running"


def test_the_best_comes_with_the_interval_of_its_own_scores(tmp_path: Path) -> None:
    ledger_of(tmp_path, 5, failed=(4,))
    assert read_status(tmp_path).best_interval is None, "categories are not known"
    about(tmp_path)
    found = read_status(tmp_path)
    assert found.best is not None
    assert found.best.number == 3
    values = (1.0, 0.25 + 3 / 100)
    scores = tuple(ExampleScore(str(i), v, f"kind {i}") for i, v in enumerate(values))
    assert found.best_interval == interval([ScoreSet("vqa", "macro", 1.0, scores)])
    assert found.failures() == {"the merged model's scores are not finite": 1}


def test_a_stopped_trial_is_not_the_best(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SEARCH, [Dimension("w", 0.0, 1.0, 0.0)])
    sets = (ScoreSet("vqa", "micro", 1.0, (ExampleScore("0", 0.5, "c"),)),)
    for value, tags in ((0.5, {}), (0.9, {STOPPED: 24}), (0.6, {})):
        ledger.tell(Outcome({"w": 0.1}, "d", "tpe", sets, value, "", {"score": 1.0}, tags))
    best = read_status(tmp_path).best
    assert best is not None
    assert best.number == 2


def test_the_time_left_is_of_the_budget_that_ends_first(tmp_path: Path) -> None:
    ledger_of(tmp_path, 4)  # of two seconds each
    about(tmp_path, trials=10)
    assert read_status(tmp_path).left_s is None, "nobody runs it"
    with sole_writer(tmp_path):
        since = read_status(tmp_path).holder
        assert since is not None
        assert since.since is not None
        assert read_status(tmp_path).left_s == pytest.approx(12.0, abs=1.0)
        about(tmp_path, trials=10, searches=2)
        assert read_status(tmp_path).left_s == pytest.approx(32.0, abs=1.0)
        about(tmp_path, trials=10, searches=2, timeout_s=20.0)
        assert read_status(tmp_path, now=since.since + 5).left_s == pytest.approx(15.0)
        about(tmp_path, trials=None)
        assert read_status(tmp_path).left_s is None


def test_results_of_an_earlier_end_do_not_make_a_study_finished(tmp_path: Path) -> None:
    ledger_of(tmp_path, 3)
    for trials, state in {3: "finished", 2: "stopped"}.items():
        (tmp_path / "results.json").write_text(json.dumps({"trials": trials}))
        assert read_status(tmp_path).state == state


def test_a_finished_study_tells_what_it_found_and_on_which_split(tmp_path: Path) -> None:
    folder = tmp_path / "of mine"
    ledger_of(folder, 3)
    about(folder)
    score = {"value": 0.451, "low": 0.4, "high": 0.5}
    results = {"trials": 3, "winner": {"trial": 1}, "rows": [{"score": score}]}
    (folder / "results.json").write_text(json.dumps(results))

    def said(*options: str) -> str:
        return CliRunner().invoke(cli.app, ["status", str(folder), *options]).stdout

    line = "found    45.1 [40.0, 50.0] on the test split, trial 1, chosen on confirm; its recipe: "
    assert f"{line}mergetuna best '{folder}'\n" in said()
    assert "on the selection split, trial 2; chosen among many, so too high by luck" in said()
    assert json.loads(said("--json"))["found"] == {"trial": 1, "test": score}
    ledger_of(folder, 4)  # it has gone on since
    assert "found" not in said()
    assert json.loads(said("--json"))["found"] is None
    for odd in ({"trials": 4}, {"trials": 4, "winner": {}, "rows": []}):
        (folder / "results.json").write_text(json.dumps(odd))
        assert "finished" in said()
        assert "found" not in said()


def test_json_says_the_same(tmp_path: Path) -> None:
    ledger_of(tmp_path, 3, failed=(1,))
    about(tmp_path)
    (tmp_path / "test_reads.jsonl").write_text("{}\n{}\n")
    told = json.loads(CliRunner().invoke(cli.app, ["status", str(tmp_path), "--json"]).stdout)
    assert told["state"] == "stopped"
    assert told["trials"] == {SEARCH: 3}
    assert told["best"]["trial"] == 2
    assert told["best"]["interval"]["low"] <= told["best"]["value"]
    assert [t["value"] is None for t in told["last"]] == [False, True, False]
    assert (told["test_reads"], told["holder"], told["study"]) == (2, None, "night")


def test_a_folder_that_is_no_studys_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds ledger\.journal or storage\.json, but this one does not"
    ):
        read_status(tmp_path)


def test_status_imports_no_torch() -> None:
    code = "import sys, studies.status; print({'torch', 'pydantic', 'scipy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
