"""A user's own metric by import path, and what is said when it does not fit."""

from pathlib import Path

import pytest

from objectives.data import Example
from objectives.errors import ObjectiveError
from objectives.metric import get_metric
from objectives.verdict import Verdict

EXAMPLE = Example("q7", "?", (), {"answer": "tram"}, "all")
SOURCE = """
from objectives.verdict import Verdict

constant = 3

def share(response, example, /, *, least=1):
    '''Share of the gold letters that are written.'''
    found = set(response) & set(example.texts["answer"])
    return len(found) / 4 if len(found) >= least else 0

def exact(response, example):
    return response == example.texts["answer"]

def unread(response, example):
    return Verdict(0.0, parsed=False)

def percent(response, example):
    return 85

def text(response, example):
    return "1.0"

def lacking(response, example):
    return example.texts["caption"]

def greedy(response, example, third):
    return 1.0
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_metrics.py").write_text(SOURCE)
    (tmp_path / "my_broken_metrics.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_numbers_truths_and_verdicts_are_taken() -> None:
    assert get_metric("my_own_metrics:share")("tr", EXAMPLE) == Verdict(0.5)
    assert get_metric("my_own_metrics:exact")("tram", EXAMPLE) == Verdict(1.0)
    assert get_metric("my_own_metrics:unread")("tram", EXAMPLE) == Verdict(0.0, parsed=False)
    assert get_metric("my_own_metrics:exact")(" ", EXAMPLE) == Verdict(0.0, parsed=False)


def test_its_keywords_are_options() -> None:
    metric = get_metric("my_own_metrics:share")
    assert metric.options == {"least": 1}
    assert metric.with_options({"least": 3})("tr", EXAMPLE) == Verdict(0.0)
    with pytest.raises(ObjectiveError, match="has no option 'most'; it has least"):
        metric.with_options({"most": 3})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("my_missing_metrics:f", "module 'my_missing_metrics' cannot be imported: ModuleNotFound"),
        ("my_broken_metrics:f", "cannot be imported: ModuleNotFoundError: No module named 'a_pac"),
        ("my_own_metrics:shares", "no function 'shares'; it has exact, greedy, lacking, percent"),
        ("my_own_metrics:constant", "my_own_metrics has no function 'constant'"),
        ("my_own_metrics:greedy", r"f\(response, example\), but missing a required arg.*'third'"),
        ("my_own_metrics:", "my_own_metrics has no function ''"),
        (":f", "the module '' cannot be imported"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path: str, message: str) -> None:
    with pytest.raises(ObjectiveError, match=message):
        get_metric(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("percent", r"must give a number in \[0, 1\] or a Verdict, but gave 85 for example q7"),
        ("text", "but gave '1.0' for example q7"),
        ("lacking", "my_own_metrics:lacking failed on example q7: KeyError: 'caption'"),
    ],
)
def test_what_it_gives_is_checked(name: str, message: str) -> None:
    with pytest.raises(ObjectiveError, match=message):
        get_metric(f"my_own_metrics:{name}")("tram", EXAMPLE)
