"""The ledger: whole trials, torn files, one writer, one study."""

import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from merge_ops.errors import UserError
from objectives.guard import Decision
from objectives.records import ExampleScore, ScoreSet
from objectives.statistics import Interval
from search.dimension import Choice, Coordinate, Dimension
from search.optuna_proposer import distribution
from studies.ledger import JOURNAL, SEARCH, Ledger, Outcome, read_trials
from studies.owner import sole_writer
from studies.trial_facts import record

DIMENSIONS = [Dimension("w", 0.0, 1.0, 0.5)]
SETS = (ScoreSet("o", "micro", 1.0, (ExampleScore("x", 1.0, "c"), ExampleScore("y", 0.0, "c"))),)


def outcome(w: float, value: float | None = 0.5) -> Outcome:
    sets = SETS if value is not None else ()
    reason = "" if value is not None else "boom"
    return Outcome({"w": w}, f"d{w}", "warm start", sets, value, reason, {"score": 0.25}, {"k": 3})


def test_trials_come_back_as_they_were_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS)
    ledger.tell(outcome(0.1))
    ledger.tell(outcome(0.2, None))
    good, bad = read_trials(tmp_path)
    assert (good.number, good.value, good.params) == (0, 0.5, {"w": 0.1})
    assert good.user_attrs["figures"] == {"o": 0.5, "o/c": 0.5}
    assert good.user_attrs["scores"] == '{"o":[1,0]}'
    assert good.user_attrs["k"] == 3
    assert bad.state == TrialState.FAIL
    assert bad.user_attrs["reason"] == "boom"


def test_two_searches_share_a_journal_and_do_not_mix(tmp_path: Path) -> None:
    Ledger(tmp_path, "search", DIMENSIONS).tell(outcome(0.1))
    Ledger(tmp_path, "global", DIMENSIONS).tell(outcome(0.9))
    assert [t.params["w"] for t in read_trials(tmp_path, "search")] == [0.1]
    assert [t.params["w"] for t in read_trials(tmp_path, "global")] == [0.9]


@pytest.mark.parametrize("torn", [b'{"op_code": 4, "wor', b'{"op', b"\x00" * 9])
def test_a_torn_last_line_is_cut(tmp_path: Path, torn: bytes) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS)
    ledger.tell(outcome(0.1))
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(torn)
    again = Ledger(tmp_path, "search", DIMENSIONS)
    again.tell(outcome(0.2))
    assert [t.params["w"] for t in read_trials(tmp_path)] == [0.1, 0.2]


def test_optuna_reads_and_goes_on_with_what_a_ledger_wrote_and_the_other_way(
    tmp_path: Path,
) -> None:
    """Names that look like keys of a line, text in parameters, and two values among them."""
    dimensions: list[Coordinate] = [
        Dimension("params", 0.0, 1.0, 0.5),
        Choice("distributions", ('},"params":{', "b"), "b"),
    ]
    storage = JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL)))
    theirs = optuna.create_study(storage=storage, study_name=SEARCH, direction="maximize")
    kinds = {d.name: distribution(d) for d in dimensions}
    values: dict[str, Any] = {"params": 0.25, "distributions": '},"params":{'}
    attributes = {"digest": "x", "params": {"a": 1}, "distributions": {}}
    for value in (0.25, None):
        theirs.add_trial(
            create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                value=value,
                params=values,
                distributions=kinds,
                user_attrs=attributes,
                constraints={"guard": -0.5},
            )
        )
    ledger = Ledger(tmp_path, SEARCH, dimensions)
    held = Decision("undecided", 0.125, Interval(0.0, -0.1, 0.1))
    ledger.tell(
        Outcome(values, "d", "tpe", SETS, 0.5, "", {"score": 0.25}, guards={"guard": held})
    )
    ledger.claim("x")
    front = Ledger(tmp_path, "front", dimensions, objectives=2)
    front.tell(
        Outcome(values, "d", "tpe", SETS, 0.5, "", {"score": 0.25}, front={"a": 0.25, "b": 0.75})
    )
    loaded = optuna.load_study(storage=storage, study_name=SEARCH)
    assert loaded.user_attrs == {"study": "x"}
    both = optuna.load_study(storage=storage, study_name="front")
    assert both.directions == [StudyDirection.MAXIMIZE] * 2
    for name, study, own in ((SEARCH, loaded, ledger), ("front", both, front)):
        known = study.get_trials(deepcopy=False)
        for read in (own.trials, read_trials(tmp_path, name)):
            assert len(read) == len(known) == (3 if name == SEARCH else 1)
            for a, b in zip(read, known, strict=True):
                b._trial_id = a._trial_id  # theirs counts over all searches
                assert a == b


def test_the_lock_of_a_dead_writer_is_not_waited_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS)
    ledger.tell(outcome(0.1))
    (tmp_path / f"{JOURNAL}.lock").symlink_to(tmp_path / JOURNAL)
    begun = time.monotonic()
    Ledger(tmp_path, "search", DIMENSIONS).tell(outcome(0.2))
    assert time.monotonic() - begun < 10  # Optuna's own patience is 30 s
    assert len(read_trials(tmp_path)) == 2


def test_another_study_may_not_fill_the_same_ledger(tmp_path: Path) -> None:
    Ledger(tmp_path, "search", DIMENSIONS).claim("one")
    Ledger(tmp_path, "search", DIMENSIONS).claim("one")
    with pytest.raises(UserError, match="scored with another study file or other models"):
        Ledger(tmp_path, "search", DIMENSIONS).claim("two")


def test_a_second_coordinator_is_refused(tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path),
        pytest.raises(UserError, match="another process is running this study"),
        sole_writer(tmp_path),
    ):
        pass
    with sole_writer(tmp_path):
        pass


def test_a_folder_without_a_ledger_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds ledger\.journal or storage\.json, but this one does not"
    ):
        read_trials(tmp_path)


def test_a_trial_says_when_it_began_what_it_held_and_how_many_items_it_cost(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path, "search", DIMENSIONS)
    first = ledger.tell(replace(outcome(0.1), memory={"host": 7}, begun=time.monotonic() - 90.0))
    copied = ledger.tell(replace(outcome(0.2), copied=first, begun=time.monotonic()))
    failed = ledger.tell(outcome(0.3, None))
    stopped = ledger.tell(replace(outcome(0.4), stopped=1))
    seeds = ledger.tell(replace(outcome(0.5), tags={"seeds": 3}))
    assert read_trials(tmp_path) == [first, copied, failed, stopped, seeds]
    assert first.duration is not None
    assert 90.0 <= first.duration.total_seconds() < 100.0
    told = [record(t) for t in ledger.trials]
    assert [t["items"] for t in told] == [2, 0, 0, 1, 6]
    assert [t["memory"] for t in told] == [{"host": 7}, None, None, None, None]
    assert told[0]["seconds"]["record"] == 0
    assert all(t["seconds"]["record"] > 0 for t in told[1:])
    assert all(t["began"] <= t["ended"] for t in told)


def test_a_clock_that_is_set_back_gives_no_trial_a_negative_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.monotonic()

    class Back(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr("studies.ledger.datetime", Back)
    told = Ledger(tmp_path, "search", DIMENSIONS).tell(replace(outcome(0.1), begun=begun))
    assert told.duration is not None
    assert 0 <= told.duration.total_seconds() < 10


def test_trials_of_older_ledgers_still_say_how_many_items_they_cost() -> None:
    old = {"digest": "d", "source": "tpe", "seconds": {"score": 1.0}, "scores": '{"o":[1,0]}'}
    trial = create_trial(value=0.5, user_attrs=old)
    assert (record(trial)["items"], record(trial)["memory"]) == (2, None)
    assert record(create_trial(value=0.5, user_attrs={**old, "stopped": 1}))["items"] == 1
    assert record(create_trial(value=0.5, user_attrs={**old, "copy_of": 0}))["items"] == 0
