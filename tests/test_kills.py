"""kill -9 at random instants: no scored trial is lost or doubled, and the end is the same."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
from optuna.trial import FrozenTrial

from merge_ops.recipe_text import recipe_text
from merge_ops.recipe_yaml import read_recipe
from studies.journal import JOURNAL, read_trials
from studies.mending import mend
from studies.owner import LOCK
from studies.paths import RECIPE
from studies.run import run_study
from studies.setup import read_study
from tests.cold import start_cold
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
def whole(small_study: MakeStudy) -> Path:
    """Folder of an uninterrupted study; from here on this process is warm."""
    study = read_study(write(small_study, "whole"))
    assert run_study(study)["trials"] == TRIALS
    return study.out


def seconds_of(path: Path) -> float:
    """How long an uninterrupted study takes in a warm process."""
    begun = time.monotonic()
    forked = start(path)
    assert forked.wait() == 0, forked.said.read_text()
    assert forked.count() == TRIALS
    return time.monotonic() - begun


def facts(trial: FrozenTrial) -> tuple[object, ...]:
    attributes = {k: v for k, v in trial.user_attrs.items() if k not in {"seconds", "memory"}}
    return trial.number, trial.value, trial.params, attributes


def found(out: Path) -> str:
    recipe = read_recipe(out / RECIPE)
    recipe.provenance.pop("created")  # type: ignore[attr-defined]
    recipe.provenance["test"].pop("reads")
    return recipe_text(recipe, out)


class Running(Protocol):
    """A study's process, warm or cold."""

    @property
    def pid(self) -> int: ...
    @property
    def said(self) -> Path: ...
    def wait(self) -> int: ...
    def count(self) -> int: ...


@dataclass(slots=True)
class Killer:
    """Starts a study again and again, and kills it; each time the ledger is looked at.

    Attributes:
        begin: starts the process.
        within: seconds after which it is killed at the latest.
        instants: when, at random.
        expected: what the uninterrupted study's trials say.
        loading: if not 0, every other kill waits for the end of the imports, and comes within so
            many seconds of it.
        kills: so far.
        resumed: half-scored trials that were gone on from.
        stages: where the kills fell.
    """

    begin: Callable[[Path], Running]
    within: float
    instants: random.Random
    expected: Sequence[tuple[object, ...]]
    loading: float = 0.0
    kills: int = 0
    resumed: int = 0
    stages: Counter[str] = field(default_factory=Counter)

    def work(self, path: Path, kills: int) -> None:
        """Until the study has ended, or so many kills have been done in all."""
        out, told, ended = read_study(path).out, 0, False
        while not ended and self.kills < kills:
            running = self.begin(path)
            self.wait(running.pid, out)
            os.kill(running.pid, signal.SIGKILL)
            ended = running.wait() == 0
            fresh = running.count()
            self.kills += not ended
            self.stages[stage(out, running.pid, fresh)] += not ended
            self.resumed += running.said.read_text().count("goes on behind")
            told = self.look(out, told + fresh)

    def wait(self, pid: int, out: Path) -> None:
        """Until it is to be killed."""
        if not self.loading or self.kills % 2:
            time.sleep(self.instants.uniform(0.0, self.within))
            return
        while not owned(out, pid) and alive(pid):
            time.sleep(0.002)
        time.sleep(self.instants.uniform(0.0, self.loading))

    def finish(self, path: Path) -> None:
        """Run what is left to its end."""
        running = self.begin(path)
        assert running.wait() == 0, running.said.read_text()
        running.count()
        self.resumed += running.said.read_text().count("goes on behind")

    def look(self, out: Path, told: int) -> int:
        """No trial that was told is missing, none is there twice; how many there are."""
        if (out / JOURNAL).exists():
            mend(out / JOURNAL)
        trials = read_trials(out) if told else []
        assert told <= len(trials) <= told + 1  # at most one was written and not yet said
        assert [facts(trial) for trial in trials] == self.expected[: len(trials)]
        return len(trials)


def owned(out: Path, pid: int) -> bool:
    """Whether a process has taken the study's folder: behind its imports, before models load."""
    return (out / LOCK).exists() and f'"pid": {pid},' in (out / LOCK).read_text()


def alive(pid: int) -> bool:
    """Whether a child still runs; one that has ended and was not waited for does not."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def stage(out: Path, pid: int, told: int) -> str:
    """How far a killed process had come: its imports, its first trial, or on."""
    if not owned(out, pid):
        return "while it imported"
    return "before its first trial" if told == 0 else "later"


def check_end(out: Path, reference: Path, expected: Sequence[tuple[object, ...]]) -> None:
    """A study that was killed has come out as one that was not."""
    assert [facts(trial) for trial in read_trials(out)] == expected
    assert found(out) == found(reference)
    assert not list(out.glob("half-scored-*"))


SLOW = [pytest.param(50, seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 4)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kills", "seed"), [(2, 0), *SLOW])
def test_a_study_killed_at_random_instants_loses_and_doubles_nothing(
    whole: Path, small_study: MakeStudy, kills: int, seed: int
) -> None:
    """Half-scored trials are gone on from, and come out as if nothing had been."""
    expected = [facts(trial) for trial in read_trials(whole)]
    within = 1.5 if kills < 10 else seconds_of(write(small_study, f"timed-{seed}"))
    killer = Killer(start, within, random.Random(seed), expected)
    studies = 0
    while killer.kills < kills:
        path = write(small_study, f"killed-{seed}-{studies}")
        studies += 1
        killer.work(path, kills)
        killer.finish(path)
        check_end(read_study(path).out, whole, expected)
    say(killer, studies, "warm")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_process_killed_while_it_imports_or_loads_loses_and_doubles_nothing(
    whole: Path, small_study: MakeStudy, kills: int
) -> None:
    """A cold one spends most of its time before the first trial."""
    expected = [facts(trial) for trial in read_trials(whole)]
    killer = Killer(start_cold, 3.0, random.Random(kills), expected)
    if kills > 1:
        imports, killer.loading = seconds_to_a_trial(write(small_study, "cold-whole"))
        killer.within = imports + killer.loading
    studies = 0
    while killer.kills < kills:
        path = write(small_study, f"cold-{kills}-{studies}")
        studies += 1
        killer.work(path, kills)
        killer.begin = start  # what is left is run by a warm process
        killer.finish(path)
        killer.begin = start_cold
        check_end(read_study(path).out, whole, expected)
    say(killer, studies, "cold")


def seconds_to_a_trial(path: Path) -> tuple[float, float]:
    """How long a cold process imports, and then takes until its first trial; it is let go on."""
    begun, out = time.monotonic(), read_study(path).out
    cold = start_cold(path)
    while not owned(out, cold.pid):
        time.sleep(0.002)
    imported = time.monotonic()
    cold.wait_for_a_trial()
    told = time.monotonic()
    assert cold.wait() == 0, cold.said.read_text()
    return imported - begun, told - imported


def say(killer: Killer, studies: int, what: str) -> None:
    where = ", ".join(f"{count} {name}" for name, count in sorted(killer.stages.items()))
    sys.stdout.write(
        f"{killer.kills} kills of a {what} process ({where}) in {studies} studies: no trial lost "
        f"or doubled, {killer.resumed} half-scored trials resumed\n"
    )
