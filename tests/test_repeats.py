"""Points whose recipe is known are not scored again, and are bounded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.errors import UserError
from search.racing import STOPPED
from studies.budget import items_scored
from studies.ledger import read_trials
from studies.racing import is_whole, saved
from studies.repeats import nothing_new, original
from studies.run import run_study
from studies.setup import read_study
from studies.trial_facts import COPY_OF, examples_of

Make = Callable[..., Path]


def trial(number: int, digest: str, value: float | None, **attributes: object) -> FrozenTrial:
    made = create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params={"w": 0.5},
        distributions={"w": FloatDistribution(0, 1)},
        user_attrs={"digest": digest, "scores": '{"o":[1.0,0.0]}', **attributes},
    )
    made.number = number
    return made


def test_what_is_known_of_a_recipe() -> None:
    trials = [trial(0, "a", 0.5), trial(1, "b", None), trial(2, "c", 0.2, **{STOPPED: 1})]
    assert original(trials, "a") is trials[0]
    assert original(trials, "b") is None  # a failure is tried once more
    assert original(trials, "c") is trials[2]  # what it lost to has not become worse
    assert original(trials, "d") is None
    trials += [trial(3, "b", None), trial(4, "c", 0.6), trial(5, "a", 0.5, copy_of=0)]
    assert original(trials, "b") is trials[3]
    assert original(trials, "c") is trials[4]  # rather one that was scored in full
    assert original(trials, "a") is trials[0]  # never a copy


def test_copies_cost_no_items_and_hold_no_place_among_the_best() -> None:
    trials = [trial(0, "a", 0.5), trial(1, "a", 0.5, copy_of=0)]
    assert items_scored(trials) == 2
    assert saved(trials) == {"stopped": 0, "items_scored": 2, "items": 2}
    assert [is_whole(t) for t in trials] == [True, False]
    assert [examples_of(t) for t in trials] == [2, 0]


def test_a_search_that_only_repeats_itself_ends() -> None:
    copies = [trial(i, "a", 0.5, copy_of=0) for i in range(1, 51)]
    assert nothing_new(copies) == "repeats: the last 50 points were all known"
    assert nothing_new(copies[1:]) is None
    assert nothing_new([*copies[1:], trial(51, "b", 0.5)]) is None


def test_a_study_of_four_points_scores_four(
    small_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = 0

    def count(*arguments: object, **named: object) -> object:
        nonlocal scored
        scored += arguments[2] == "selection"
        return score(*arguments, **named)

    from studies.evaluator import Evaluator

    score: Callable[..., object] = Evaluator.score
    monkeypatch.setattr(Evaluator, "score", count)
    study = read_study(
        small_study(
            "reasoning",
            out="repeats",
            method="ties",
            search={"choices": {"normalize": [True, False], "rescale": [True, False]}},
            sampler="tpe",
            compare=False,
            warm_start=[],
            trials=100,
        )
    )
    results = run_study(study)
    trials = read_trials(study.out)
    fresh = [t for t in trials if COPY_OF not in t.user_attrs]
    assert 1 < len(fresh) <= 4
    assert len({t.user_attrs["digest"] for t in trials}) == len(fresh)
    assert scored == len(fresh) + 2  # and two parents, for a picture
    assert results["ended"]["search"].startswith("repeats: ")
    for t in trials:
        if COPY_OF in t.user_attrs:
            first = trials[t.user_attrs[COPY_OF]]
            for key in ("digest", "scores", "figures"):
                assert t.user_attrs[key] == first.user_attrs[key]
            assert (t.value, t.params) == (first.value, first.params)
            assert t.user_attrs["source"] == "tpe"


def test_a_point_that_fails_is_tried_twice_and_then_known(
    small_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.evaluator import Evaluator

    score, tried = Evaluator.score, 0

    def patchy(self: Evaluator, recipe: object, *rest: object, **named: object) -> object:
        nonlocal tried
        if recipe.parameters["normalize"][0].value:  # type: ignore[attr-defined]
            tried += 1
            raise UserError("merged weights must be finite")
        return score(self, recipe, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "score", patchy)
    study = read_study(
        small_study(
            "reasoning",
            out="fails-again",
            method="ties",
            search={"choices": {"normalize": [False, True]}},
            sampler="random",
            compare=False,
            warm_start=[],
            trials=12,
        )
    )
    monkeypatch.setattr("studies.run.finish", lambda *_: ({}, None))
    run_study(study)
    trials = read_trials(study.out)
    failed = [t for t in trials if t.value is None]
    assert len(failed) > tried == 2
    assert {t.user_attrs["reason"] for t in failed} == {"merged weights must be finite"}
    assert all(t.user_attrs[COPY_OF] == failed[1].number for t in failed[2:])
