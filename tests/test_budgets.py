"""Budgets: whichever limit comes first ends the search, and it is said which."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.naming import WARM
from studies import cli
from studies.breaker import hopeless
from studies.budget import Limits, items_scored, without_gain
from studies.paths import TEST_READS

MakeStudy = Callable[..., Path]


def trial(
    value: float | None, source: str = "tpe", items: int = 10, reason: str = ""
) -> FrozenTrial:
    attributes: dict[str, object] = {"source": source, "reason": reason}
    if value is not None:
        attributes["scores"] = json.dumps({"a": [value] * (items // 2), "b": [1.0] * (items // 2)})
    state = TrialState.FAIL if value is None else TrialState.COMPLETE
    return create_trial(state=state, value=value, user_attrs=attributes)


def trials(*values: float | None) -> list[FrozenTrial]:
    return [trial(value) for value in values]


@pytest.mark.parametrize(
    ("limits", "done", "expected"),
    [
        (Limits(3), trials(0.1, None), None),
        (Limits(3), trials(0.1, None, 0.2), "trials: 3 are finished"),
        (Limits(None, items=31), trials(0.1, None, 0.2, 0.3), None),
        (Limits(None, items=30), trials(0.1, None, 0.2, 0.3), "items: 30 examples are scored"),
        (Limits(9, target=0.5), trials(0.1, 0.49), None),
        (Limits(9, target=0.5), trials(0.1, 0.5, 0.2), "target: 0.5 is at least 0.5"),
        (Limits(9, patience=2), trials(0.3, 0.4, 0.2), None),
        (Limits(9, patience=2), trials(0.3, 0.4, 0.2, None), "patience: 2 trials brought no gain"),
        (Limits(9, patience=2), trials(0.3, 0.4, 0.4, 0.4), "patience: 2 trials brought no gain"),
        (Limits(2, patience=2, target=0.1), trials(0.3, 0.3), "target: 0.3 is at least 0.1"),
        (Limits(None, time.monotonic() - 1), [], "timeout: the time is over"),
        (Limits(None, time.monotonic() + 1e6), [], None),
    ],
)
def test_the_first_limit_ends_a_search(
    limits: Limits, done: Sequence[FrozenTrial], expected: str | None
) -> None:
    assert limits.reached(done) == expected


def test_published_grids_do_not_exhaust_patience() -> None:
    warm = [trial(0.3, WARM), *[trial(0.1, WARM)] * 20]
    assert without_gain(warm) == 0
    assert without_gain([*warm, trial(0.2)]) == 1


def test_items_of_failed_trials_do_not_count() -> None:
    assert items_scored([trial(0.5, items=8), trial(None), trial(0.5, items=4)]) == 12


def test_a_clock_that_is_set_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(None, time.monotonic() + 100)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert limits.reached([]) is None


def failed(*reasons: str) -> list[FrozenTrial]:
    return [trial(None, reason=reason) for reason in reasons]


@pytest.mark.parametrize(
    ("done", "begun", "expected"),
    [
        (failed("a", "b"), 0, None),
        (failed("a", "b", "c"), 0, "the first 3 trials failed: a"),
        (failed("a", "b", "c"), 3, None),  # an earlier run's, and mended since
        ([trial(0.5), *failed("a", "b", "c")], 0, None),
        ([trial(0.5), *failed(*["norm 3.5e-7 of x"] * 9)], 0, None),
        (
            [trial(0.5), *failed(*(f"norm {i}.5e-{i} of x" for i in range(10)))],
            0,
            "the last 10 trials failed in the same way: norm 9.5e-9 of x",
        ),
        ([trial(0.5), *failed(*["a", "b"] * 10)], 0, None),
        ([trial(0.5), *failed(*["a"] * 5), trial(0.1), *failed(*["a"] * 9)], 0, None),
        ([trial(0.5), *failed(*["a"] * 12)], 4, None),
    ],
)
def test_a_search_whose_trials_all_fail_the_same_way_gives_up(
    done: Sequence[FrozenTrial], begun: int, expected: str | None
) -> None:
    assert hopeless(done, begun) == expected


def results_of(
    path: Path, out: str, monkeypatch: pytest.MonkeyPatch, *options: str
) -> dict[str, object]:
    monkeypatch.setattr(sys, "argv", ["mergetuna", "run", str(path), *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    content: dict[str, object] = json.loads((path.parent / out / "results.json").read_text())
    return content


def test_the_reason_is_printed_and_stands_in_the_results(
    small_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = small_study("preference", out="items", compare=True)
    path.write_text(path.read_text().replace("trials: 3", "trials: null\n  items: 81"))
    results = results_of(path, "items", monkeypatch)
    reason = "items: 96 examples are scored"
    assert results["ended"] == {"search": reason, "global": reason}
    assert f"items, search: ended by {reason}" in capfd.readouterr().err


def test_a_budget_that_is_reached_looks_at_the_test_split_no_more(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_study("preference", out="reached", trials=2, compare=False)
    first = results_of(path, "reached", monkeypatch, "--trials", "3")
    reads = path.parent / "reached" / TEST_READS
    looks = reads.read_bytes()
    for options in (
        (),
        ("--trials", "1"),
        ("--trials", "3", "--timeout", "8h"),
        ("--trials", "3"),
    ):
        capfd.readouterr()
        assert results_of(path, "reached", monkeypatch, *options) == first
        said = capfd.readouterr().err
        assert "this study has ended" in said
        assert "scoring" not in said
    assert reads.read_bytes() == looks
    assert results_of(path, "reached", monkeypatch, "--trials", "4")["trials"] == 4
    assert len(reads.read_bytes()) > len(looks)


def test_the_command_line_overrides_the_budget(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_study("preference", out="overridden", trials=2, compare=False)
    assert results_of(path, "overridden", monkeypatch, "--trials", "1")["trials"] == 1
    assert results_of(path, "overridden", monkeypatch)["trials"] == 2  # the file's own again
    timed = results_of(path, "overridden", monkeypatch, "--trials", "9", "--timeout", "0.01s")
    said = capfd.readouterr().err
    assert "ended by timeout: the time is over" in said
    assert "no trial was added; its results stand" in said
    assert timed["trials"] == 2
    for options in (["--timeout", "8x"], ["--trials", "0"], ["--trials", "9999999999"]):
        monkeypatch.setattr(sys, "argv", ["mergetuna", "run", str(path), *options])
        capfd.readouterr()
        with pytest.raises(SystemExit) as refused:
            cli.main()
        assert refused.value.code == 2
        assert options[0] in capfd.readouterr().err
