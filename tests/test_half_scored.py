"""Half-scored trials: stored block by block, gone on from, forgotten once they are told."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from objectives.evaluation import BlockScores
from objectives.records import ExampleScore
from studies.half_scored import END, HalfScored, Kept, Part, block_line, forget_told, read_blocks
from studies.ledger import read_trials
from studies.run import run_study
from studies.setup import read_study

MakeStudy = Callable[..., Path]
ITEMS, BLOCK = 24, 4


def kept(seed: int) -> Kept:
    scores = tuple(
        ExampleScore(f"x{seed}/{i}", 0.1 * seed + i / 3, "sci/é", ("unparsed",) * (i % 2), m)
        for i, m in enumerate((None, -1e-17, 3.0))
    )
    return Kept((scores, ()), 0.25)


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    half = HalfScored(tmp_path, "d" * 64)
    for index in range(3):
        half.put("p", index, kept(index))
    again = HalfScored(tmp_path, "d" * 64)
    assert len(again) == 3
    assert [again.get("p", i) for i in range(4)] == [kept(0), kept(1), kept(2), None]
    assert again.get("q", 0) is None
    assert len(HalfScored(tmp_path, "e" * 64)) == 0
    again.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_file_torn_anywhere_gives_its_whole_blocks_and_goes_on(tmp_path: Path) -> None:
    lines = [block_line(("p", i), kept(i)) for i in range(3)]
    content = b"".join(lines)
    ends = [0, len(lines[0]), len(lines[0] + lines[1]), len(content)]
    for size in range(len(content) + 1):
        found, whole = read_blocks(content[:size])
        assert whole == max(end for end in ends if end <= size)
        assert len(found) == ends.index(whole)
    first = HalfScored(tmp_path, "d" * 64)
    first.put("p", 0, kept(0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(content[: ends[1] + 30])
    torn = HalfScored(tmp_path, "d" * 64)
    assert len(torn) == 1
    torn.put("p", 1, kept(1))
    assert path.read_bytes() == content[: ends[2]]


def test_a_damaged_line_and_all_behind_it_are_not_believed() -> None:
    lines = [block_line(("p", i), kept(i)) for i in range(3)]
    for place in range(len(lines[1])):
        damaged = bytearray(lines[1])
        damaged[place] ^= 1
        found, size = read_blocks(lines[0] + bytes(damaged) + lines[2])
        assert list(found) == [("p", 0)]
        assert size == len(lines[0])


def test_blocks_wait_in_memory_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    half, open_ = HalfScored(tmp_path, "d" * 64), os.open

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    half.put("p", 0, kept(0))
    monkeypatch.setattr("studies.half_scored.os.open", full)
    half.put("p", 1, kept(1))
    half.put("p", 2, kept(2))
    assert len(HalfScored(tmp_path, "d" * 64)) == 1
    monkeypatch.setattr("studies.half_scored.os.open", open_)
    half.put("p", 3, kept(3))
    assert len(HalfScored(tmp_path, "d" * 64)) == 4
    assert capfd.readouterr().err.count("kept in memory only") == 1


class Power(BaseException):
    """It went off."""


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Counts the blocks that are scored; the power goes off before one of them."""
    state: dict[str, Any] = {"scored": 0, "off": None, "hook": lambda: None}
    get = Part.get

    def counted(self: Part, index: int) -> BlockScores | None:
        found = get(self, index)
        if found is None:
            if state["scored"] == state["off"]:
                raise Power
            state["scored"] += 1
            state["hook"]()
        return found

    monkeypatch.setattr(Part, "get", counted)
    return state


def study(small_study: MakeStudy, out: str, **changes: Any) -> Path:
    racing = {"rule": "off", "block": BLOCK} | changes.pop("racing", {})
    path = small_study("preference", out=out, compare=False, racing=racing, **changes)
    path.write_text(path.read_text().replace("limit: 24", f"limit: {ITEMS}"))
    return path


def told(path: Path) -> list[tuple[Any, ...]]:
    trials = read_trials(read_study(path).out)
    return [(t.number, t.params, t.value, t.user_attrs["scores"]) for t in trials]


def left(path: Path) -> list[Path]:
    return list(read_study(path).out.glob("half-scored-*"))


@pytest.mark.parametrize("rule", [pytest.param("off", marks=pytest.mark.slow), "test"])
def test_a_trial_goes_on_from_its_stored_blocks(
    small_study: MakeStudy, blocks: dict[str, Any], rule: str
) -> None:
    """Each block of trials and of the end is scored exactly once, wherever the power goes off."""
    whole = study(small_study, f"half-whole-{rule}", racing={"rule": rule, "top": 1})
    run_study(read_study(whole))
    count = blocks["scored"]
    path = study(small_study, f"half-cut-{rule}", racing={"rule": rule, "top": 1})
    blocks["scored"], cuts = 0, 0
    for off in (1, 5, 11, count - 15, count - 1, None):
        blocks["off"] = off
        if off is None:
            run_study(read_study(path))
            break
        with pytest.raises(Power):
            run_study(read_study(path))
        cuts += bool(left(path))
    assert blocks["scored"] == count
    assert cuts == 5
    assert told(path) == told(whole)
    assert left(path) == []
    blocks["off"] = count  # nothing further may be scored
    HalfScored(read_study(path).out, END).put("p", 0, kept(0))  # died behind the results
    run_study(read_study(path))
    assert left(path) == []


def test_the_time_ends_within_a_block_and_more_time_goes_on(
    small_study: MakeStudy,
    blocks: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = study(small_study, "half-timeout", trials=3)
    now = [0.0]
    monkeypatch.setattr("studies.budget.time.monotonic", lambda: now[0])
    monkeypatch.setattr("studies.run.time.monotonic", lambda: now[0])
    plan = read_study(path)
    per_trial = ITEMS // BLOCK

    def late() -> None:
        now[0] = 100.0 if blocks["scored"] == per_trial + 2 else now[0]

    blocks["hook"] = late
    budget = plan.config.budget.model_copy(update={"timeout": "60s"})
    results = run_study(plan, budget=budget)
    assert results["trials"] == 1
    assert results["ended"]["search"] == "timeout: the time is over"
    (half,) = left(path)
    assert len(half.read_bytes().splitlines()) == 2
    blocks["hook"] = lambda: None
    assert run_study(plan)["trials"] == 3
    assert "trial 1 goes on behind 2 blocks" in capfd.readouterr().err
    assert left(path) == []


def test_what_a_process_left_of_told_trials_is_swept_up(tmp_path: Path) -> None:
    for digest in ("d" * 64, "e" * 64):
        HalfScored(tmp_path, digest).put("p", 0, kept(0))
    forget_told(tmp_path, [create_trial(value=1.0, user_attrs={"digest": "d" * 64})])
    assert len(HalfScored(tmp_path, "d" * 64)) == 0
    assert len(HalfScored(tmp_path, "e" * 64)) == 1
