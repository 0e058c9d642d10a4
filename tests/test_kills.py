"""kill -9 at random instants: no scored trial is lost or doubled, and the end is the same."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import read_recipe
from studies.journal import JOURNAL, read_trials
from studies.mending import mend
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study
from tests.forked import start

MakeStudy = Callable[..., Path]
TRIALS = 14  # eleven of the published grid, then the sampler's


def write(small_study: MakeStudy, out: str) -> Path:
    blocks = {"rule": "off", "block": 2}  # four of a trial
    path = small_study(
        "preference", out=out, trials=TRIALS, name="killed", compare=False, racing=blocks
    )
    path.write_text(path.read_text().replace("limit: 24", "limit: 8"))
    return path


@pytest.fixture(scope="module")
def whole(small_study: MakeStudy) -> tuple[Path, float]:
    """An uninterrupted study, and how long it takes, warm."""
    run_study(read_study(write(small_study, "whole-warm")))
    path = write(small_study, "whole")
    begun = time.monotonic()
    forked = start(path)
    assert forked.wait() == 0, forked.said.read_text()
    assert forked.count() == TRIALS
    return read_study(path).out, time.monotonic() - begun


def facts(trial: FrozenTrial) -> tuple[object, ...]:
    attributes = {k: v for k, v in trial.user_attrs.items() if k != "seconds"}
    return trial.number, trial.value, trial.params, attributes


def found(out: Path) -> str:
    recipe = read_recipe(out / RECIPE)
    recipe.provenance.pop("created")  # type: ignore[attr-defined]
    recipe.provenance["test"].pop("reads")
    return recipe_text(recipe, out)


SLOW = [pytest.param(50, seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kills", "seed"), [(4, 0), *SLOW])
def test_a_study_killed_at_random_instants_loses_and_doubles_nothing(
    whole: tuple[Path, float], small_study: MakeStudy, kills: int, seed: int
) -> None:
    """Half-scored trials are gone on from, and come out as if nothing had been."""
    reference, duration = whole
    expected = [facts(trial) for trial in read_trials(reference)]
    instants = random.Random(seed)
    done = round_ = resumed = 0
    while done < kills:
        path = write(small_study, f"killed-{seed}-{round_}")
        out, told, round_ = read_study(path).out, 0, round_ + 1
        ended = False
        while not ended and done < kills:
            forked = start(path)
            time.sleep(instants.uniform(0.0, duration))
            os.kill(forked.pid, signal.SIGKILL)
            ended = forked.wait() == 0
            resumed += forked.said.read_text().count("goes on behind")
            done += not ended
            told += forked.count()
            if (out / JOURNAL).exists():
                mend(out / JOURNAL)
            trials = read_trials(out) if told else []
            assert told <= len(trials) <= told + 1  # at most one was written and not yet said
            assert [facts(trial) for trial in trials] == expected[: len(trials)]
            told = len(trials)
        forked = start(path)
        assert forked.wait() == 0, forked.said.read_text()
        forked.count()
        resumed += forked.said.read_text().count("goes on behind")
        assert [facts(trial) for trial in read_trials(out)] == expected
        assert found(out) == found(reference)
        assert not list(out.glob("half-scored-*"))
    sys.stdout.write(f"{done} kills in {round_} studies; {resumed} half-scored trials resumed\n")
