"""What the study itself costs per trial: CPU time of the record, the mirror and the suggestions.

Run: python benchmarks/search.py --overhead 1000x40 10000x300

A ledger of so many trials (x dimensions), each with 600 per-example scores, is filled; the next
few are suggested, told to the ledger and mirrored. Record: the main thread's CPU time from
an outcome to a trial on disk, and of waking the mirror. Mirror: the CPU time of the tracker's own
thread, beside the study, into MLflow's SQLite store, the trial's recipe included; it is not waited
for. In brackets behind suggestions what a study tells beforehand (`search/auto.py`).
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import cast

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial

from merge_ops.recipe import Recipe, Source
from objectives.records import ExampleScore, ScoreSet
from search.auto import suggestion_seconds
from search.depth import even_bands
from search.dimension import Dimension
from search.modules import WHOLE
from search.optuna_proposer import distribution
from search.proposer import Proposal
from search.samplers import make_proposer
from search.space import KnobRange, SearchSpace
from studies.budget import Limits
from studies.ledger import SEARCH, Ledger, Outcome
from studies.particulars import Particulars, RecipeText
from studies.tracking_sync import Experiment

_TIMED, _ITEMS = 15, 600
_GP_MOST = 10**8  # trials squared x dimensions; beyond, one takes a minute and 10 GB


def overhead(sizes: Sequence[str]) -> None:
    """Measure every size, such as "1000x40", and print a table of milliseconds."""
    columns = ["trials x dimensions", "record", "mirror", "cma", "tpe", "gp", "random"]
    print("| " + " | ".join(columns) + " |\n|---|" + "---:|" * (len(columns) - 1))
    for size in sizes:
        trials, dimensions = map(int, size.split("x"))
        print("| " + " | ".join([size, *_measure(trials, dimensions, _ITEMS)]) + " |", flush=True)


def _measure(count: int, width: int, items: int) -> list[str]:
    """Milliseconds of every column."""
    space = _space(width)
    dimensions = cast("list[Dimension]", space.dimensions())
    random = np.random.default_rng(0)
    proposer = make_proposer("cma", dimensions, 0)
    told: list[FrozenTrial] = []
    for number in range(count):
        told.append(_trial(number, proposer.propose(told), dimensions, items, random))
    with tempfile.TemporaryDirectory() as folder:
        record, trials = _record(Path(folder), told, dimensions, items)
        mirror = _mirror(f"sqlite:///{folder}/mlflow.db", trials[-_TIMED:], space)
    found = [f"{1000 * record:.1f}", f"{1000 * mirror:.1f}"]
    for name in ("cma", "tpe", "gp", "random"):
        if name == "gp" and count**2 * width > _GP_MOST:
            found.append("-")
            continue
        own = proposer if name == "cma" else make_proposer(name, dimensions, 0)
        times = 3 if name == "gp" or count * width > 10**6 else _TIMED
        taken = _suggestions(own.propose, told, dimensions, items, times)
        expected = suggestion_seconds(name, width, count)
        found.append(f"{1000 * taken:.1f} ({1000 * expected:.0f})")
    return found


def _space(width: int) -> SearchSpace:
    """Of so many dimensions, an even number: two experts, each with a weight in every band."""
    template = Recipe("task_arithmetic", (Source("v"), Source("m")), "base", target="v")
    depth, ranges = even_bands(width // 2, width // 2), {"weight": KnobRange(0.0, 1.5)}
    return SearchSpace(template, ("vlm", "math"), ranges, depth, WHOLE)


def _trial(
    number: int,
    proposal: Proposal | None,
    dimensions: Sequence[Dimension],
    items: int,
    random: np.random.Generator,
) -> FrozenTrial:
    """A finished trial: a sphere, with noise."""
    assert proposal is not None
    loss = sum((float(value) - 0.6) ** 2 for value in proposal.values.values())
    scores = random.integers(2, size=items).tolist()
    attributes = {"digest": str(number), "source": "cma", "scores": str(scores), **proposal.tags}
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=-loss,
        params=proposal.values,
        distributions={d.name: distribution(d) for d in dimensions},
        user_attrs=attributes,
    )
    trial.number = number
    return trial


def _record(
    folder: Path, told: Sequence[FrozenTrial], dimensions: Sequence[Dimension], items: int
) -> tuple[float, Sequence[FrozenTrial]]:
    """Seconds of one `tell`, the limits' look at all trials included; and the ledger's trials."""
    ledger, limits = Ledger(folder, SEARCH, dimensions), Limits(10**6, None)
    scores = tuple(ExampleScore(f"e{i}", float(i % 2), "all") for i in range(items))
    sets = [ScoreSet("objective", "micro", 1.0, scores)]
    seconds = []
    for trial in told:
        value, phases = trial.value, {"suggest": 0.0, "build": 0.1, "score": 1.0}
        outcome = Outcome(trial.params, "0" * 64, "cma", sets, value, "", phases)
        begun = time.thread_time()
        ledger.tell(outcome)
        limits.reached(ledger.trials)
        seconds.append(time.thread_time() - begun)
    return median(seconds[-_TIMED:]), ledger.trials


def _mirror(uri: str, trials: Sequence[FrozenTrial], space: SearchSpace) -> float:
    """Seconds that the tracker's thread takes to write one trial, its recipe included."""
    text = RecipeText("overhead", space, Path(tempfile.gettempdir()))
    experiment = Experiment(uri, "overhead", "ledger", {}, Particulars(recipe_of=text))
    return median(_timed(experiment, trial) for trial in trials)


def _suggestions(
    propose: Callable[[Sequence[FrozenTrial]], Proposal | None],
    told: Sequence[FrozenTrial],
    dimensions: Sequence[Dimension],
    items: int,
    times: int,
) -> float:
    """Seconds of one suggestion, over a few in a row; the first takes up all trials."""
    random, trials, seconds = np.random.default_rng(1), list(told), []
    for _ in range(times):
        begun = time.process_time()
        proposal = propose(trials)
        seconds.append(time.process_time() - begun)
        trials.append(_trial(len(trials), proposal, dimensions, items, random))
    return mean(seconds[1:])  # a generation's end makes some of CMA-ES's dearer than others


def _timed(experiment: Experiment, trial: FrozenTrial) -> float:
    begun = time.thread_time()
    experiment.write(trial)
    return time.thread_time() - begun
