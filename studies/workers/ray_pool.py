"""Workers as Ray actors: started where there is room, replaced when they die."""

import queue
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merge_ops.errors import UserError
from studies.console import warn
from studies.workers.protocol import Done, Event, Facts, Lost, Piece, Refused
from studies.workers.ray_actor import Absent, Refusal
from studies.workers.ray_cluster import Node
from studies.workers.ray_room import Roll, Room
from studies.workers.ray_worker import Worker, answers, words

_LOOK = 2.0  # seconds between two looks at the cluster
_RECORD, _CHECK = 60.0, 3600.0  # seconds that workers have to answer


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
    lost: int = 0
    _roll: Roll = field(init=False)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _came: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    _idle: dict[str, None] = field(default_factory=dict)
    _looked: float = float("-inf")
    _made: int = 0
    _shipped: Any = None
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._roll = Roll(self.ray, self.room)

    def idle(self) -> Sequence[str]:
        """Those that wait for work."""
        return list(self._idle)

    def give(self, worker: str, pieces: Sequence[Piece]) -> None:
        """Let an idle worker score pieces, in one call: a call costs more CPU than all else."""
        del self._idle[worker]
        one = self._workers[worker]
        one.pieces = pieces
        self._listen(worker, one.actor.score.remote(pieces))

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

    def records(self) -> Sequence[Mapping[str, Any]]:
        """How every worker scored; one that does not answer is passed over."""
        ready = [one for one in self._workers.values() if one.ready]
        return answers(self.ray, [one.actor.record.remote() for one in ready], _RECORD)

    def check(self) -> Sequence[dict[str, Any]]:
        """What the first worker finds when it judges examples again without shortcuts.

        Raises:
            UserError: they cannot be judged.
        """
        self.open()
        first = next(one for one in self._workers.values() if one.ready)
        for said in answers(self.ray, [first.actor.check.remote()], _CHECK):
            if isinstance(said, Refusal):
                raise UserError(said.reason)
            found: list[dict[str, Any]] = said
            return found
        return []

    def _tell(self, notes: Sequence[str]) -> None:
        """Say what loading said, once however many workers say the same."""
        for note in notes:
            key = re.sub(
                r"of [\d.]+ \w+ free", "", note
            )  # each worker finds a little more or less
            if key not in self._told:
                self._told.add(key)
                warn(note)

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
        pieces, one.pieces = one.pieces, ()
        if isinstance(said, BaseException):
            return self._bury(one, pieces, one.dropped or words(said))
        if isinstance(said, Absent):
            return self._supply(one, said)
        if isinstance(said, Facts):
            one.ready = True
            self.facts = self.facts or said
            self._tell(said.notes)
        elif isinstance(said, Refusal) and not pieces:
            self._roll.refused(one.node, said.reason)
            return self._bury(one, pieces, said.reason)
        self._idle[worker] = None
        if not pieces:
            return []
        self._roll.scored(one.node)
        if isinstance(said, Refusal):
            return [Refused(worker, pieces[0], said.reason)]
        return [Done(worker, *pair) for pair in zip(pieces, said, strict=True)]

    def _supply(self, one: Worker, absent: Absent) -> list[Event]:
        """Let a worker open again, with the files that its node lacks; they are read once."""
        if self._shipped is None:
            if self.ship is None:
                reason = f"its node lacks {absent.paths[0]}, and with --ship never nothing is sent"
                self._roll.refused(one.node, reason)
                return self._bury(one, (), reason)
            why = "" if self.order.ship == "always" else f" lacks {absent.paths[0]}"
            warn(f"{one.node.address}{why}: the study's files are sent there")
            self._shipped = self.ship()
        self._listen(one.name, one.actor.open.remote(self._shipped))
        return []

    def _bury(self, one: Worker, pieces: Sequence[Piece], reason: str) -> list[Event]:
        """A worker is gone."""
        self.ray.kill(one.actor)  # one that raised is alive, but in a state that nobody knows
        del self._workers[one.name]
        self._idle.pop(one.name, None)
        self.lost += 1
        self._looked = float("-inf")
        warn(f"worker {one.name} on {one.node.address} is lost: {reason}")
        self._roll.lost(one.node, reason)
        return [Lost(one.name, pieces[0] if pieces else None, reason)]

    def _fill(self) -> None:
        """Start workers where there is room."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        at = Counter(one.node.id for one in self._workers.values())
        for node in self._roll.places(at):
            self._start(node)
        self._roll.check(len(self._workers))

    def _start(self, node: Node) -> None:
        name = f"w{self._made}"
        self._made += 1
        one = Worker(name, node, self.make(node, self.room))
        self._workers[name] = one
        self._listen(name, one.actor.open.remote(self.order))
