"""Two workers against one: trials per hour of the same study on the embedded models.

Run `python -m benchmarks.two_workers` on a machine of two idle cores. Both runs score the same
candidates (a low-discrepancy sequence, no racing), which is checked; every worker has one thread,
in both. Counted is the time from the end of trial number `--skip` to the end of the last trial:
neither Ray's start nor the capture of the prompts is in it, but the uneven last trials are. MLflow
is off: its thread would take CPU from the workers, as it does not where they run on GPUs.
`--ceiling` says what the machine can give: two whole studies at once in two processes, without
Ray, against one alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from ruamel.yaml import YAML

from studies.demo.data import write_data
from studies.demo.stage import stage_demo
from studies.journal import read_trials

_LARGE = "large"  # folder of the larger selection split


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="of each run")
    parser.add_argument("--skip", type=int, default=20, help="so many first trials do not count")
    parser.add_argument("--scale", type=int, default=4, help="times the demo's selection split")
    parser.add_argument("--rounds", type=int, default=1, help="one worker, two workers, again ..")
    parser.add_argument("--ceiling", action="store_true", help="two processes against one, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage_demo(folder, options.trials, seed=0)
        write_data(folder / _LARGE, scale=options.scale)
        for number in range(options.rounds):
            _compare(folder, options, f"{number}")
        if options.ceiling:
            _ceiling(folder, options)


def _compare(folder: Path, options: argparse.Namespace, label: str) -> None:
    """One worker, then two."""
    found: list[tuple[float, list[FrozenTrial]]] = []
    for count in (1, 2):
        study = _study(folder, f"{label}-{count}", options.trials)
        before, begun = os.getloadavg()[0], time.monotonic()
        _finish([_started(study, "--workers", str(count))])
        trials = read_trials(study.with_suffix(""))
        found.append((_rate(trials, options.skip), trials))
        print(
            f"{count} workers: {found[-1][0]:6.0f} trials/h; the whole command took "
            f"{time.monotonic() - begun:.0f} s; load before it {before:.1f}",
            flush=True,
        )
    (one, first), (two, second) = found
    assert _contents(first) == _contents(second), "the two runs scored different candidates"
    print(f"ratio {two / one:.2f}; the same {len(first)} candidates with the same scores")


def _ceiling(folder: Path, options: argparse.Namespace) -> None:
    """One process alone, then two at once, each with a study of its own."""
    rates = []
    for count in (1, 2):
        studies = [_study(folder, f"alone-{count}-{i}", options.trials) for i in range(count)]
        _finish([_started(study) for study in studies])
        trials = [read_trials(study.with_suffix("")) for study in studies]
        rates.append(sum(_rate(own, options.skip) for own in trials))
        print(f"{count} processes without Ray: {rates[-1]:6.0f} trials/h", flush=True)
    print(f"ratio {rates[1] / rates[0]:.2f}: what two cores of this machine give")


def _study(folder: Path, name: str, trials: int) -> Path:
    """The demo's preference study with a larger selection split."""
    yaml = YAML()
    content: dict[str, Any] = yaml.load(folder / "preference.yaml")
    content |= {"name": name, "out": name, "compare": False, "sampler": "qmc", "confirm_top": 1}
    content |= {"budget": {"trials": trials}, "tracking": {"enabled": False}}
    content["objectives"][0]["data"]["selection"] = f"{_LARGE}/preferences-selection.parquet"
    assert content["runtime"]["threads"] == 1
    path = folder / f"{name}.yaml"
    yaml.dump(content, path)
    return path


def _started(study: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "studies.cli", "run", str(study), *options]
    with study.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _finish(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.wait():
            assert isinstance(process.args, list)
            study = Path(str(process.args[4]))
            sys.exit(study.with_suffix(".log").read_text()[-2000:])


def _rate(trials: Sequence[FrozenTrial], skip: int) -> float:
    """Trials per hour from the end of trial `skip` to the end of the last one."""
    counted = [t.datetime_complete for t in trials[skip:]]
    first, last = counted[0], counted[-1]
    assert first is not None
    assert last is not None
    return 3600 * (len(counted) - 1) / (last - first).total_seconds()


def _contents(trials: Sequence[FrozenTrial]) -> list[str]:
    """What was scored, whatever the order of the results."""
    return sorted(f"{t.user_attrs['digest']} {t.user_attrs['scores']}" for t in trials)


if __name__ == "__main__":
    main()
