"""What a tracker costs a study: wall time of a trial beside MLflow stores that work, refuse, hang.

Four searches take turns in one process, a few trials each, in changing order: without a tracker,
with MLflow's SQLite store, with a server that nobody listens at, and with one that accepts and
never answers. Trials either sleep or multiply matrices on one thread for a given time; all else is
the study's own loop. Ratios are of trials in the same turn, so that other work on the machine
counts little. Run `python -m benchmarks.mirroring`. The figures stand in docs/benchmarks.md.
"""

import argparse
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import cast

import numpy as np
import psutil
import torch

from merge_ops.recipe import Recipe, Source
from objectives.records import ExampleScore, ScoreSet
from search.depth import even_bands
from search.modules import WHOLE
from search.samplers import make_proposer
from search.space import KnobRange, SearchSpace
from studies.budget import Limits
from studies.evaluator import Evaluator, Scored
from studies.interruption import Interruption
from studies.ledger import SEARCH, Ledger
from studies.search_loop import SearchPlan, run_search
from studies.tracking import Mirror

_LAYERS, _ITEMS = 20, 600  # with two experts 40 dimensions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=["sleep", "compute"], nargs="*", default=["sleep"])
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--trials", type=int, default=5, help="of each search in a turn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for work in arguments.work:
        _compare(work, arguments.seconds, arguments.turns, arguments.trials)


def _compare(work: str, seconds: float, turns: int, trials: int) -> None:
    """Let the searches take turns, and print a table."""
    score = _score(work, seconds)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stores = {
            "off": None,
            "sqlite": f"sqlite:///{folder}/mlflow.db",
            "refused": stack.enter_context(_refusing()),
            "hanging": stack.enter_context(_hanging()),
        }
        searches = [_Tracked(Path(folder) / n, uri, score) for n, uri in stores.items()]
        for search in searches:
            search.get_ready()
        for turn in range(turns):
            for search in searches[turn % 4 :] + searches[: turn % 4]:
                search.times.append(search.run(trials))
                search.settle()
        _print(f"{work}, {seconds:g} s a trial", searches, trials)
        for search in searches:
            search.end()


def _print(title: str, searches: "Sequence[_Tracked]", trials: int) -> None:
    """A row per store; ratios to the search without a tracker, turn by turn."""
    columns = [
        title,
        "s a trial",
        "ratio [95 %]",
        "tracker's ms a trial",
        "mirrored",
        "errors",
    ]
    print("\n| " + " | ".join(columns) + " |\n|---" + "|---:" * 5 + "|")
    random = np.random.default_rng(0)
    for search in searches:
        ratios = [a / b for a, b in zip(search.times, searches[0].times, strict=True)]
        draws = [mean(random.choice(ratios, len(ratios))) for _ in range(2000)]
        low, high = np.quantile(draws, [0.025, 0.975])
        each = median(search.times) / trials
        count = len(search.ledger.trials)
        status = search.mirror.status() if search.mirror else None
        told = [f"{each:.4f}", f"{mean(ratios):.4f} [{low:.4f}, {high:.4f}]"]
        told.append(f"{1000 * search.cpu() / (count - 1):.1f}" if status else "-")
        told += [f"{status.mirrored} of {count}", str(status.errors)] if status else ["-", "-"]
        print("| " + " | ".join([search.folder.name, *told]) + " |", flush=True)


@dataclass(slots=True)
class _Tracked:
    """A search whose trials are mirrored to a store, or to none."""

    folder: Path
    uri: str | None
    score: Callable[[], None]
    ledger: Ledger = field(init=False)
    plan: SearchPlan = field(init=False)
    mirror: Mirror | None = field(init=False, default=None)
    tracker: psutil.Process | None = field(init=False, default=None)
    imports: float = field(init=False, default=0.0)
    times: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Begin."""
        self.folder.mkdir()
        space = _space()
        self.ledger = Ledger(self.folder, SEARCH, space.dimensions())
        proposer = make_proposer("random", space.dimensions(), 0)
        self.plan = SearchPlan(space, (), proposer, "random")
        if self.uri is not None:
            before = psutil.Process().children()
            self.mirror = Mirror(self.uri, self.folder.name, lambda: self.ledger.trials, {})
            self.mirror.start()
            while not (started := set(psutil.Process().children()) - set(before)):
                time.sleep(0.01)
            (self.tracker,) = started

    def get_ready(self) -> None:
        """One trial, so that MLflow is imported and a store's tables are made: seconds."""
        self.run(1)
        self.settle()
        self.imports = _idle(self.tracker) if self.tracker else 0.0

    def run(self, trials: int) -> float:
        """Seconds of so many further trials."""
        notify = self.mirror.notify if self.mirror else lambda: None
        limits = Limits(len(self.ledger.trials) + trials)
        evaluator = cast("Evaluator", _Waiting(self.folder, self.score))
        begun = time.perf_counter()
        run_search(self.plan, self.ledger, evaluator, limits, Interruption(), lambda _: notify())
        return time.perf_counter() - begun

    def settle(self) -> None:
        """Wait until a store that works holds all trials."""
        while self.mirror and self.folder.name == "sqlite" and not self.mirror.status().complete:
            time.sleep(0.01)

    def cpu(self) -> float:
        """CPU seconds of the tracker's process since it was ready."""
        assert self.tracker is not None
        return _spent(self.tracker) - self.imports

    def end(self) -> None:
        """Leave the tracker behind; say how long it holds the end of a study up."""
        if self.mirror is not None:
            begun = time.perf_counter()
            self.mirror.finish(60.0)
            print(f"{self.folder.name}: its end waited {time.perf_counter() - begun:.1f} s")


def _spent(process: psutil.Process) -> float:
    """CPU seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _idle(process: psutil.Process) -> float:
    """Wait until a process does nothing for a second; its CPU seconds."""
    spent, before = _spent(process), -1.0
    while spent < 1.0 or spent - before > 0.02:  # its imports alone take seconds
        time.sleep(1.0)
        spent, before = _spent(process), spent
    return spent


@dataclass(frozen=True, slots=True)
class _Waiting:
    """As much of an evaluator as the loop uses."""

    folder: Path
    work: Callable[[], None]

    def digest(self, recipe: Recipe) -> str:
        """The recipe's."""
        return recipe.digest({"v": "1", "m": "2", "base": "3"})

    def score(self, _recipe: Recipe, _split: str, *, stops: object, parts: object) -> Scored:
        """Take time."""
        assert stops is None
        assert parts is not None
        begun = time.perf_counter()
        self.work()
        scores = tuple(ExampleScore(str(i), float(i % 2), f"kind {i % 5}") for i in range(_ITEMS))
        seconds = {"build": 0.0, "score": time.perf_counter() - begun}
        return Scored((ScoreSet("guess", "micro", 1.0, scores),), seconds)

    def signal(self, _sets: object) -> float:
        """What the search maximises."""
        return 0.5

    def aims(self, _sets: object) -> dict[str, float]:
        """No front."""
        return {}


def _space() -> SearchSpace:
    template = Recipe("task_arithmetic", (Source("v"), Source("m")), "base", target="v")
    ranges = {"weight": KnobRange(0.0, 1.5)}
    return SearchSpace(template, ("vlm", "math"), ranges, even_bands(_LAYERS, _LAYERS), WHOLE)


def _score(work: str, seconds: float) -> Callable[[], None]:
    """Something that takes so long: a nap, or so many products of small matrices."""
    if work == "sleep":
        return lambda: time.sleep(seconds)
    matrix = torch.randn(256, 256)

    def multiply(count: int) -> None:
        for _ in range(count):
            torch.mm(matrix, matrix)

    def each(count: int) -> float:
        begun = time.perf_counter()
        multiply(count)
        return (time.perf_counter() - begun) / count

    count = int(seconds / min(each(200) for _ in range(5)))
    return lambda: multiply(count)


@contextmanager
def _refusing() -> Iterator[str]:
    """A port that nobody listens at: taken, so that nobody else does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def _hanging() -> Iterator[str]:
    """A server that takes connections (the kernel does) and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


if __name__ == "__main__":
    main()
