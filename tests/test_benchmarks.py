"""Benchmarks start as their docs say, from a clone's folder and with nothing on the path."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *(
        ["benchmarks/" + name]
        for name in ("candidate.py", "engine.py", "search.py", "spectral.py")
    ),
    *(
        ["-m", "benchmarks." + name]
        for name in ("evaluation", "mirroring", "two_workers", "workers")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_benchmark_starts(command: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = [sys.executable, *command, "--help"]
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
