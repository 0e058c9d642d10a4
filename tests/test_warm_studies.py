"""Earlier studies and recipes as first points of a study."""

from collections.abc import Callable
from pathlib import Path

import pytest

from merge_ops.errors import UserError
from search.naming import WARM
from studies.ledger import read_trials
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study


def test_a_study_begins_where_an_earlier_one_ended(small_study: Callable[..., Path]) -> None:
    first = read_study(small_study("reasoning", out="earlier", trials=4, compare=False))
    run_study(first)
    scored = read_trials(first.out)
    best = sorted(scored, key=lambda t: (-(t.value or 0), t.number))[:2]

    same = [{"study": str(first.out), "best": 2}, {"recipe": str(first.out / RECIPE)}]
    again = read_study(
        small_study("reasoning", out="later", trials=3, compare=False, warm_start=same)
    )
    run_study(again)
    trials = read_trials(again.out)
    assert [t.params for t in trials[:2]] == [t.params for t in best]
    assert [t.value for t in trials[:2]] == [t.value for t in best]
    assert trials[1].user_attrs["source"] == WARM

    finer = read_study(
        small_study(
            "reasoning",
            out="finer",
            trials=2,
            compare=False,
            search={"knobs": {"weight": [0.0, 1.5]}, "bands": 3},
            warm_start=[{"study": str(first.out)}],
        )
    )
    run_study(finer)
    trials = read_trials(finer.out)
    assert [t.user_attrs["source"] == WARM for t in trials] == [True, False]
    assert len(trials[0].params) == 6


def test_there_must_be_such_a_study(small_study: Callable[..., Path]) -> None:
    study = read_study(
        small_study("reasoning", out="lost", compare=False, warm_start=[{"study": "nowhere"}])
    )
    with pytest.raises(UserError, match=r"warm_start\.\d: there is no study in .*nowhere"):
        run_study(study)
    bad = small_study("reasoning", out="odd", warm_start=["linear_grit"])
    with pytest.raises(UserError, match="there is no grid 'linear_grit'"):
        read_study(bad)
    bad = small_study("reasoning", out="odd", warm_start=[{"studdy": "x"}])
    with pytest.raises(UserError, match=r"odd\.yaml:\d+:\d+: warm_start\.0"):
        read_study(bad)
