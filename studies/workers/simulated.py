"""Workers that only pass the time: for tests of the coordinator, and for its benchmark."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studies.workers.protocol import Answer, Done, Event, Lost, Piece

Script = Callable[[str, Piece], tuple[float, Answer | None]]
"""How long a worker takes for a piece, and its answer; None: it dies over it."""


@dataclass(slots=True)
class SimulatedWorkers:
    """Workers on a clock of their own, which jumps from event to event.

    Attributes:
        names: of the workers at the beginning.
        script: what becomes of a piece.
    """

    names: Sequence[str]
    script: Script
    clock: float = 0.0
    _idle: list[str] = field(default_factory=list)
    _queue: list[tuple[float, int, Sequence[Event]]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._idle = list(self.names)

    def idle(self) -> Sequence[str]:
        """Those that wait."""
        return list(self._idle)

    def give(self, worker: str, pieces: Sequence[Piece]) -> None:
        """The answers will come when their time is over; a death takes all with it."""
        self._idle.remove(worker)
        found, when = list[Event](), self.clock
        for piece in pieces:
            seconds, answer = self.script(worker, piece)
            when += seconds
            if answer is None:
                found = [Lost(worker, pieces[0], "it died")]
                break
            found.append(Done(worker, piece, answer))
        self._push(when, found)

    def _push(self, when: float, events: Sequence[Event]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, events))

    def events(self, seconds: float) -> Sequence[Event]:
        """What is due next; the clock stands at its time then, or `seconds` later if none is."""
        if not self._queue or self._queue[0][0] > self.clock + seconds:
            self.clock += seconds
            return []
        self.clock, _, events = heapq.heappop(self._queue)
        name = events[0].worker
        self._idle.append(f"{name}'" if isinstance(events[0], Lost) else name)
        return events

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Nothing: they have no models."""
        return []

    def check(self) -> Sequence[dict[str, Any]]:
        """Nothing."""
        return []

    def drop(self, worker: str, reason: str) -> None:
        """It is replaced; what it was at comes to nothing."""
        piece = next(events[0].piece for _, _, events in self._queue if events[0].worker == worker)
        self._queue = [entry for entry in self._queue if entry[2][0].worker != worker]
        heapq.heapify(self._queue)
        self._push(self.clock, [Lost(worker, piece, reason)])

    def now(self) -> float:
        """Its own clock."""
        return self.clock
