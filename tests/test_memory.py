"""Memory over a long search: it grows by the records of its trials, and by nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from studies.ledger import JOURNAL, Ledger
from tests.marathon import march, resident

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Marched:
    """What a long search took.

    Attributes:
        held: bytes of resident memory after so many trials.
        peak: the most, in bytes.
        journal: bytes on the disk.
        cpu: seconds.
    """

    held: dict[int, int]
    peak: int
    journal: int
    cpu: float

    def slope(self, since: int) -> float:
        """Bytes that a trial adds, after so many trials."""
        last = max(self.held)
        return (self.held[last] - self.held[since]) / (last - since)


def marched(folder: Path, trials: int, every: int, *options: str) -> Marched:
    """Run `tests/marathon.py` in a process of its own."""
    line = [sys.executable, "-m", "tests.marathon", str(folder), str(trials), str(every), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    held = {int(count): size for count, size in told["held"].items()}
    found = Marched(held, told["peak"], told["journal"], told["cpu"])
    grown, written = found.slope(every) / 1000, found.journal / trials / 1000
    first, last = held[every] / 2**20, held[trials] / 2**20
    sys.stdout.write(
        f"{' '.join(options)}: a trial takes {grown:.1f} kB of memory and {written:.1f} kB of "
        f"journal; {first:.0f} MiB after {every}, {last:.0f} MiB after {trials}; "
        f"{1000 * found.cpu / trials:.1f} ms CPU a trial\n"
    )
    return found


def test_hundreds_of_trials_take_the_memory_of_their_records(tmp_path: Path) -> None:
    """In this process, for imports take longer than the search."""
    held: dict[int, int] = {}

    def on_trial(ledger: Ledger) -> None:
        if len(ledger.trials) % 200 == 0:
            held[len(ledger.trials)] = resident()

    march(tmp_path, 400, "random", "test", on_trial)
    journal = (tmp_path / JOURNAL).stat().st_size
    assert Marched(held, 0, journal, 0.0).slope(200) < 2 * journal / 400


LONG = [
    ("random", "test", 10_000, 1.5),
    ("cma", "halving", 4000, 1.5),
    ("tpe", "off", 1500, 2.5),  # its arrays are of candidates by trials by coordinates
    ("nsga2", "off", 4000, 2.0),
]
"""Sampler, racing, trials, and the most that a trial takes: so many times what its line does."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("sampler", "rule", "trials", "most"), LONG)
def test_thousands_of_trials_take_the_memory_of_their_records(
    tmp_path: Path, sampler: str, rule: str, trials: int, most: float
) -> None:
    found = marched(tmp_path / "study", trials, 500, sampler, rule)
    assert found.slope(500) < most * found.journal / trials


@pytest.mark.slow
def test_the_mirror_keeps_nothing_of_the_trials(tmp_path: Path) -> None:
    """Nor does its process: what it needs for some hundreds of them is all that it ever needs."""
    found = marched(tmp_path / "study", 1500, 500, "random", "off", "mirrored")
    assert found.slope(500) < 2 * found.journal / 1500
