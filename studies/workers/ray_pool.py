"""Workers as Ray actors: started where there is room, replaced when they die, left out at last."""

import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from merge_ops.errors import UserError
from studies.console import warn
from studies.workers.protocol import Done, Event, Facts, Lost, Piece, Refused
from studies.workers.ray_actor import Absent, Refusal
from studies.workers.ray_cluster import Node, nodes

_LOOK = 2.0  # seconds between two looks at the cluster
_FAULTS, _LAST_FAULTS = 3, 10
"""Losses in a row, without a block scored between, after which a node is left out: one of several,
and the last one."""
_NOBODY = 600.0  # seconds without a worker or a place for one after which a study gives up


@dataclass(frozen=True, slots=True)
class Room:
    """What one worker takes.

    Attributes:
        workers: how many there may be; None for as many as there is room for, always.
        cpus: each.
        gpus: each.
    """

    workers: int | None
    cpus: int
    gpus: int

    def on(self, node: Node) -> int:
        """How many workers fit a node."""
        fits = [int(node.cpus // self.cpus)]
        if self.gpus:
            fits.append(int(node.gpus // self.gpus))
        return min(fits)


@dataclass(slots=True)
class Worker:
    """One actor.

    Attributes:
        name: of the worker; never used twice.
        node: where it runs.
        actor: Ray's handle.
        piece: what it is at.
        ready: whether its models are loaded.
        dropped: why it was ended from here, or an empty string.
    """

    name: str
    node: Node
    actor: Any
    piece: Piece | None = None
    ready: bool = False
    dropped: str = ""


@dataclass(slots=True)
class RayPool:
    """Actors on the nodes of a cluster, as many as are asked for and fit.

    Nodes may join and leave. An actor that dies is replaced, on whatever node has room.

    Attributes:
        ray: the module, connected.
        make: starts an actor on a node, given the number of CPUs and GPUs.
        order: what the actors are told to open.
        room: for each worker.
        ship: the order with all files, for nodes that lack some.
    """

    ray: Any
    make: Callable[[Node, Room], Any]
    order: Any
    room: Room
    ship: Callable[[], Any] | None = None
    facts: Facts | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    _workers: dict[str, Worker] = field(default_factory=dict)
    _came: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    _idle: dict[str, None] = field(default_factory=dict)
    _faults: Counter[str] = field(default_factory=Counter)
    _looked: float = float("-inf")
    _nobody_since: float | None = None
    _made: int = 0
    _shipped: Any = None

    def idle(self) -> Sequence[str]:
        """Those that wait for work."""
        return list(self._idle)

    def give(self, worker: str, piece: Piece) -> None:
        """Let an idle worker score a piece."""
        del self._idle[worker]
        one = self._workers[worker]
        one.piece = piece
        self._listen(worker, one.actor.score.remote(piece))

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened; waits so long for the first.

        Raises:
            UserError: no worker is left, and none can be had.
        """
        self._fill()
        found: list[Event] = []
        until = time.monotonic() + seconds
        while not found:
            left = until - time.monotonic()
            try:
                came = self._came.get(timeout=max(0.0, left))
            except queue.Empty:
                return found
            found += self._on(*came)
            while not self._came.empty():
                found += self._on(*self._came.get())
            if self._idle:
                return found
        return found

    def drop(self, worker: str, reason: str) -> None:
        """End a worker; its loss is reported when Ray says so."""
        one = self._workers.get(worker)
        if one is not None and not one.dropped:
            one.dropped = reason
            self.ray.kill(one.actor)

    def now(self) -> float:
        """Seconds on this machine's clock."""
        return time.monotonic()

    def open(self) -> Facts:
        """Wait for the first worker.

        Raises:
            UserError: none can be had.
        """
        while self.facts is None:
            self.events(1.0)
        return self.facts

    def size(self) -> int:
        """How many workers there are, those that are still loading included."""
        return len(self._workers)

    def close(self) -> None:
        """End all workers."""
        for one in self._workers.values():
            self.ray.kill(one.actor)
        self._workers, self._idle = {}, {}

    def _listen(self, worker: str, reference: Any) -> None:
        """Put what becomes of a call into the queue; the callback runs in Ray's thread."""

        def came(future: Any) -> None:
            error = future.exception()
            self._came.put((worker, error if error is not None else future.result()))

        reference.future().add_done_callback(came)

    def _on(self, worker: str, said: Any) -> list[Event]:
        one = self._workers.get(worker)
        if one is None:
            return []
        piece, one.piece = one.piece, None
        if isinstance(said, BaseException):
            return self._bury(one, piece, one.dropped or _words(said))
        if isinstance(said, Absent):
            return self._supply(one, said)
        if isinstance(said, Facts):
            one.ready = True
            self.facts = self.facts or said
        elif isinstance(said, Refusal) and piece is None:
            self.left_out[one.node.id] = said.reason
            return self._bury(one, piece, said.reason)
        self._idle[worker] = None
        if piece is None:
            return []
        self._faults.pop(one.node.id, None)
        if isinstance(said, Refusal):
            return [Refused(worker, piece, said.reason)]
        return [Done(worker, piece, said)]

    def _supply(self, one: Worker, absent: Absent) -> list[Event]:
        """Let a worker open again, with the files that its node lacks; they are read once."""
        if self._shipped is None:
            if self.ship is None:
                return self._bury(one, None, f"its node lacks {absent.paths[0]}")
            warn(f"{one.node.address} lacks {absent.paths[0]}: the study's files are sent there")
            self._shipped = self.ship()
        self._listen(one.name, one.actor.open.remote(self._shipped))
        return []

    def _bury(self, one: Worker, piece: Piece | None, reason: str) -> list[Event]:
        """A worker is gone; its node is left out if that happens again and again."""
        self.ray.kill(one.actor)  # one that raised is alive, but in a state that nobody knows
        del self._workers[one.name]
        self._idle.pop(one.name, None)
        self.lost += 1
        self._looked = float("-inf")
        warn(f"worker {one.name} on {one.node.address} is lost: {reason}")
        self._faults[one.node.id] += 1
        others = [n for n in nodes(self.ray) if n.id not in {one.node.id, *self.left_out}]
        allowed = _FAULTS if any(map(self.room.on, others)) else _LAST_FAULTS
        if one.node.id not in self.left_out and self._faults[one.node.id] >= allowed:
            self.left_out[one.node.id] = reason
            warn(
                f"node {one.node.address} is left out: {allowed} workers in a row were lost on it"
            )
        return [Lost(one.name, piece, reason)]

    def _fill(self) -> None:
        """Start workers where there is room."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        at = Counter(one.node.id for one in self._workers.values())
        usable = [n for n in nodes(self.ray) if n.id not in self.left_out]
        places = [
            (at[node.id] + i, node)
            for node in usable
            for i in range(self.room.on(node) - at[node.id])
        ]
        wanted = len(places) if self.room.workers is None else self.room.workers - at.total()
        for _, node in sorted(places, key=lambda p: p[0])[: max(0, wanted)]:
            self._start(node)
        self._check(now)

    def _start(self, node: Node) -> None:
        name = f"w{self._made}"
        self._made += 1
        one = Worker(name, node, self.make(node, self.room))
        self._workers[name] = one
        self._listen(name, one.actor.open.remote(self.order))

    def _check(self, now: float) -> None:
        """Give up when nobody has been there for long, or nobody may come."""
        if self._workers:
            self._nobody_since = None
            return
        self._nobody_since = self._nobody_since or now
        alive = {node.id for node in nodes(self.ray)}
        reasons = [reason for node, reason in self.left_out.items() if node in alive]
        if reasons and alive <= self.left_out.keys():
            raise UserError(f"no worker is left: {reasons[-1]}")
        if now - self._nobody_since > _NOBODY:
            raise UserError(
                f"no node had room for a worker ({self.room.cpus} CPUs, {self.room.gpus} GPUs) "
                f"for {_NOBODY:.0f} s; what was scored is kept."
            )


def _words(error: BaseException) -> str:
    """Ray's account of a death in one line: what says most stands last in a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if type(error).__name__.startswith("RayTaskError"):
        return lines[-1] if lines else type(error).__name__
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def actor_maker(ray: Any) -> Callable[[Node, Room], Any]:
    """Starts `BenchActor`s on given nodes."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from studies.workers.ray_actor import BenchActor

    kind = ray.remote(BenchActor)

    def make(node: Node, room: Room) -> Any:
        return kind.options(
            num_cpus=room.cpus,
            num_gpus=room.gpus,
            enable_task_events=False,  # what nobody reads costs the coordinator CPU at each call
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        ).remote()

    return make
