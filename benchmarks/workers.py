"""What the coordinator costs: CPU per trial with 1 to 1,024 workers.

Workers only pass the time: on a clock of their own, without Ray, or as Ray actors that sleep.
CPU seconds of the coordinating process, all its threads, so that other work on the machine counts
little. Run `python -m benchmarks.workers`. The figures stand in docs/benchmarks.md.
"""

import argparse
import os
import pickle
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from studies.half_scored import HalfScored
from studies.ledger import Ledger
from studies.workers.coordinator import Coordinator
from studies.workers.protocol import Answer, Facts, Order, Piece, Workers
from studies.workers.ray_cluster import connected
from studies.workers.ray_pool import RayPool
from studies.workers.ray_room import Room
from studies.workers.simulated import SimulatedWorkers
from tests.simulated import Simulation


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 8, 64, 256, 1024])
    parser.add_argument("--samplers", nargs="*", default=["random", "cma", "tpe"])
    parser.add_argument("--items", type=int, default=256, help="of a trial, in 4 blocks")
    parser.add_argument("--ray", type=int, default=0, help="so many Ray actors that sleep")
    parser.add_argument("--seconds", type=float, default=1.0, help="that they sleep for a block")
    arguments = parser.parse_args()
    for sampler in arguments.samplers:
        if arguments.ray:
            _on_ray(sampler, arguments.ray, arguments.items, arguments.seconds)
            continue
        for workers in arguments.workers:
            _simulated(sampler, workers, arguments.items)


def _simulated(sampler: str, workers: int, items: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = _study(folder, sampler, workers, items)
        answer = _instant(study)
        pool = SimulatedWorkers(
            [f"w{i}" for i in range(workers)], lambda _, piece: (1.0, answer(piece))
        )
        _measure(f"{sampler}, {workers} simulated", study, pool)


def _on_ray(sampler: str, workers: int, items: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, connected(None, workers) as ray:
        study = _study(folder, sampler, workers, items)
        stored = _timed("answers", _pickled(study))
        light = _LightActors(ray, lambda pieces: _loaded(stored(pieces)), seconds)
        order = Order("study.yaml", folder, {}, "here", "")
        pool = RayPool(light, light.make, order, Room(workers, 1, 0))
        while len(pool.idle()) < workers:
            pool.events(1.0)
        start = time.perf_counter()
        _measure(f"{sampler}, {workers} on Ray", study, pool)
        ideal = study.trials * 4 * seconds / workers
        print(f"  {time.perf_counter() - start:.1f} s; without any overhead {ideal:.1f} s")
        pool.close()


def _study(folder: str, sampler: str, workers: int, items: int) -> Simulation:
    trials = max(200, 3 * workers)
    return Simulation(Path(folder), sampler=sampler, trials=trials, items=items, size=items // 4)


def _instant(study: Simulation) -> Callable[[Piece], Answer]:
    """Made-up scores, counted apart."""
    return _timed("answers", study.answers(0.0))


def _pickled(study: Simulation) -> Callable[[Sequence[Piece]], bytes]:
    """The same as they arrive; reading them is the coordinator's work."""
    answer = study.answers(0.0)
    return lambda pieces: pickle.dumps([answer(piece) for piece in pieces])


def _loaded(answers: bytes) -> list[Answer]:
    found: list[Answer] = pickle.loads(answers)  # noqa: S301 (of this very process)
    return found


def _measure(title: str, study: Simulation, pool: Workers) -> None:
    """Run a search; print CPU milliseconds per trial, by what they are spent on."""
    _SPENT.clear()
    with _watched((Coordinator, "_propose"), (Ledger, "tell"), (HalfScored, "put")):
        start = time.process_time()
        study.run(pool)
        total = time.process_time() - start - _SPENT["answers"]
    parts = {k: 1000 * v / study.trials for k, v in _SPENT.items() if k != "answers"}
    each = 1000 * total / study.trials
    rest = each - sum(parts.values())
    print(
        f"{title:24} {study.trials:5d} trials {each:7.2f} ms each: sampler "
        f"{parts['_propose']:.2f}, ledger {parts['tell']:.2f}, blocks {parts['put']:.2f}, rest "
        f"{rest:.2f}; at most {1000 / each:.0f} trials/s",
        flush=True,
    )


_SPENT: dict[str, float] = defaultdict(float)


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            _SPENT[name] += time.thread_time() - start

    return timed


@contextmanager
def _watched(*methods: tuple[type, str]) -> Iterator[None]:
    """Add up the CPU seconds of some methods."""
    with ExitStack() as stack:
        for owner, name in methods:
            stack.enter_context(patch.object(owner, name, _timed(name, getattr(owner, name))))
        yield


@dataclass(slots=True)
class _LightActors:
    """Sleeping actors of a few megabytes, and as much of `ray` as the pool uses.

    Pieces travel pickled, as they would; their scores are made up here, so that their processes
    need not import torch.
    """

    ray: Any
    answer: Callable[[Sequence[Piece]], list[Answer]]
    seconds: float

    def make(self, _node: Any, _room: Any) -> Any:
        """Start one."""

        class Sleeper:  # local, so that Ray sends it by value
            def sleep(self, _pieces: bytes, seconds: float) -> int:
                time.sleep(seconds)
                return os.getpid()

        actor = self.ray.remote(Sleeper).options(num_cpus=0, enable_task_events=False).remote()
        return _LightHandle(actor, self)

    def nodes(self) -> Any:
        """As `ray.nodes`."""
        return self.ray.nodes()

    def kill(self, handle: Any) -> None:
        """As `ray.kill`."""
        self.ray.kill(handle.actor)


@dataclass(frozen=True, slots=True)
class _LightHandle:
    actor: Any
    actors: _LightActors

    @property
    def open(self) -> "_Call":
        facts = Facts(6, (), (), "", "cpu", 1, "here", 0)
        return _Call(self.actor, 0.0, lambda _: facts)

    @property
    def score(self) -> "_Call":
        return _Call(self.actor, self.actors.seconds, self.actors.answer)


@dataclass(frozen=True, slots=True)
class _Call:
    actor: Any
    seconds: float
    convert: Callable[[Any], Any]
    argument: Any = None
    reference: Any = None

    def remote(self, argument: Any) -> "_Call":
        """Send it off."""
        count = len(argument) if isinstance(argument, Sequence) else 1
        reference = self.actor.sleep.remote(pickle.dumps(argument), count * self.seconds)
        return _Call(self.actor, self.seconds, self.convert, argument, reference)

    def future(self) -> "Future[Any]":
        """What comes back, converted."""
        made: Future[Any] = Future()
        self.reference.future().add_done_callback(
            lambda _: made.set_result(self.convert(self.argument))
        )
        return made


if __name__ == "__main__":
    main()
