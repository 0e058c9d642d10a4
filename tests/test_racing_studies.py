"""Studies that race: survivors score as without racing, the rest stops and says what it was."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from search.racing import STOPPED
from studies.ledger import read_trials
from studies.racing import is_whole, saved
from studies.run import run_study
from studies.setup import read_study
from studies.trial_facts import scores_of

Make = Callable[..., Path]
ITEMS = 80
RULES = ["test", pytest.param("halving", marks=pytest.mark.slow)]


def run(small_study: Make, out: str, **changes: Any) -> tuple[dict[str, Any], Path]:
    path = small_study(
        "preference",
        out=out,
        compare=False,
        sampler="random",
        warm_start=["linear_grid"],
        **changes,
    )
    path.write_text(path.read_text().replace("limit: 24", f"limit: {ITEMS}"))
    study = read_study(path)
    return run_study(study), study.out


@pytest.fixture(scope="module")
def outcome(small_study: Make) -> Callable[[str], Path]:
    """The folder of the study that races by a rule; it runs when it is first asked for."""
    common = {"trials": 30, "search": {"knobs": {"weight": [0.0, 1.5]}, "bands": 6}}

    @cache
    def ran(rule: str) -> Path:
        racing = {"rule": rule, "top": 3, "block": 10}
        return run(small_study, f"raced-{rule}", **common, racing=racing)[1]

    return ran


@pytest.mark.parametrize("rule", RULES)
def test_survivors_score_as_without_racing_and_the_others_less_than_they_lost_to(
    outcome: Callable[[str], Path], rule: str
) -> None:
    whole, raced = read_trials(outcome("off")), read_trials(outcome(rule))
    assert [t.params for t in whole] == [t.params for t in raced]  # random: scores change no point
    stopped = [t for t in raced if not is_whole(t)]
    assert len(stopped) > 5
    for full, own in zip(whole, raced, strict=True):
        if is_whole(own):
            assert own.value == full.value
            assert own.user_attrs["scores"] == full.user_attrs["scores"]
            continue
        for name, values in scores_of(own).items():
            known = scores_of(full)[name]
            assert all(v is None or v == k for v, k in zip(values, known, strict=True))
        seen = sum(v is not None for part in scores_of(own).values() for v in part)
        assert seen == own.user_attrs[STOPPED] < ITEMS
        earlier = sorted((t.value or 0 for t in raced[: own.number] if is_whole(t)), reverse=True)
        assert (own.value or 0) < earlier[2]


@pytest.mark.parametrize("rule", ["off", *RULES])
def test_what_is_saved_is_told(outcome: Callable[[str], Path], rule: str) -> None:
    out = outcome(rule)
    told = json.loads((out / "results.json").read_text())["racing"]
    assert told == {"rule": rule, **saved(read_trials(out))}
    assert (told["items_scored"] < told["items"]) == (rule != "off")
    assert told["items"] == 30 * ITEMS


def test_finalists_were_scored_on_everything(outcome: Callable[[str], Path]) -> None:
    trials = read_trials(outcome("test"))
    results = json.loads((outcome("test") / "results.json").read_text())
    assert all(is_whole(trials[one["trial"]]) for one in results["finalists"])


def test_one_block_cannot_be_raced(small_study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    results, _ = run(small_study, "unraced", trials=3, racing={"rule": "test", "block": 500})
    assert "nothing is raced: all items are one block of 500" in capsys.readouterr().err
    assert results["racing"]["stopped"] == 0
