"""`auto`: what it stands for is settled when a search begins, and the time it tells is near."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from search import auto
from search.dimension import Dimension
from search.naming import WARM
from studies.config import Budget
from studies.journal import GLOBAL, JOURNAL, SEARCH, read_journal, read_trials
from studies.ledger import Ledger
from studies.run import run_study
from studies.setup import read_study
from studies.validation import validate_study
from tests.tracked import NAMES, outcome

MakeStudy = Callable[..., Path]
DIMENSIONS = [Dimension(name, 0.0, 9.0, 0.0) for name in NAMES]


def test_a_longer_budget_keeps_the_sampler_with_which_a_study_began(
    small_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auto, "GP_TRIALS", 4)
    path = small_study("preference", out="kept", sampler="auto", warm_start=[], trials=6)
    study = read_study(path)
    run_study(study, budget=Budget(trials=4))
    assert "sampler gp" in capfd.readouterr().err
    assert validate_study(study, quick=True).search["sampler"] == "gp"
    run_study(study)
    assert "sampler gp" in (said := capfd.readouterr().err)
    assert "(auto: as the study began)" in said
    for name in (SEARCH, GLOBAL):
        sources = [t.user_attrs["source"] for t in read_trials(study.out, name)]
        assert len(sources) == 6
        assert set(sources) - {WARM} == {"gp"}


def test_the_sampler_is_settled_before_it_proposes_anything(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SEARCH, DIMENSIONS)
    assert read_journal(tmp_path / JOURNAL).samplers == {}
    assert ledger.keep_sampler("gp") == "gp"
    assert ledger.keep_sampler("cma") == "gp"
    assert Ledger(tmp_path, GLOBAL, DIMENSIONS).keep_sampler("cma") == "cma"
    assert Ledger(tmp_path, SEARCH, DIMENSIONS).keep_sampler("tpe") == "gp"
    assert read_journal(tmp_path / JOURNAL).samplers == {SEARCH: "gp", GLOBAL: "cma"}


def test_a_ledger_that_does_not_name_its_sampler_tells_it_by_its_trials(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SEARCH, DIMENSIONS)
    ledger.tell(outcome(0))
    assert read_journal(tmp_path / JOURNAL).samplers == {}
    ledger.tell(replace(outcome(1), source="gp"))
    assert read_journal(tmp_path / JOURNAL).samplers == {SEARCH: "gp"}
    assert Ledger(tmp_path, SEARCH, DIMENSIONS).keep_sampler("cma") == "gp"
