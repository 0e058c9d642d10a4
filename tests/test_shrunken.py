"""Shrunken scores in tables: of folders of any size, and silent where they cannot be told."""

import json
import time
from pathlib import Path

import pytest

from objectives.records import ExampleScore, ScoreSet
from objectives.shrinkage import shrink
from search.dimension import Dimension
from studies.about import score_sets
from studies.journal import read_trials
from studies.ledger import SEARCH, Ledger, Outcome
from studies.paths import ABOUT
from studies.shrunken import shrunken
from studies.trial_facts import scores_of
from tests.reported import big_ledger

ITEMS = 60


def study(folder: Path, trials: int) -> dict[str, object]:
    """A ledger of two objectives, and what its folder says of them."""
    big_ledger(folder, trials, items=ITEMS, dimensions=4)
    kinds = [f"kind {i % 4}" for i in range(ITEMS)]
    about: dict[str, object] = {
        "objectives": {
            name: {"average": "micro", "weight": weight, "categories": kinds}
            for name, weight in (("vqa", 0.8), ("charts", 0.2))
        }
    }
    (folder / ABOUT).write_text(json.dumps(about))
    return about


def test_they_are_those_of_the_score_sets_in_the_order_of_the_values(tmp_path: Path) -> None:
    about, trials = study(tmp_path, 60), read_trials(tmp_path)
    found = shrunken(about, trials)
    whole = [t for t in trials if t.value is not None and "stopped" not in t.user_attrs]
    assert list(found) == [t.number for t in whole]
    sets = [score_sets(about, scores_of(t)) for t in whole]
    direct = shrink([one for one in sets if one])
    assert 0 < direct.kept < 1
    assert list(found.values()) == pytest.approx(direct.values)
    assert sorted(found, key=found.__getitem__) == [
        t.number for t in sorted(whole, key=lambda t: (t.value or 0, t.number))
    ]


def test_of_many_trials_a_part_is_enough(tmp_path: Path) -> None:
    about, trials = study(tmp_path, 600), read_trials(tmp_path)
    begun = time.perf_counter()
    found = shrunken(about, trials)
    assert time.perf_counter() - begun < 10
    sets = [score_sets(about, scores_of(t)) for t in trials if t.number in found]
    direct = shrink([one for one in sets if one])
    assert list(found.values()) == pytest.approx(direct.values, abs=0.004)


def test_nothing_is_told_where_nothing_is_known(tmp_path: Path) -> None:
    about, trials = study(tmp_path, 60), read_trials(tmp_path)
    assert shrunken({}, trials) == {}
    assert shrunken(about, trials[:3]) == {}
    for trial in trials:  # a smooth twin: the value is not that of the examples
        if trial.values:
            trial.values = [trial.values[0] ** 2]
    assert shrunken(about, trials) == {}


def test_a_front_has_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SEARCH, [Dimension("w", 0.0, 1.0, 0.5)], objectives=2)
    examples = tuple(ExampleScore(str(i), 0.5, "k") for i in range(4))
    sets = [ScoreSet(name, "micro", 1.0, examples) for name in ("a", "b")]
    for i in range(6):
        front = {"a": 0.5, "b": 0.1 * i}
        ledger.tell(Outcome({"w": 0.5}, f"d{i}", "tpe", sets, 0.5, "", {}, front=front))
    assert shrunken({}, read_trials(tmp_path)) == {}
    assert [t.values for t in read_trials(tmp_path)] == [t.values for t in ledger.trials]
