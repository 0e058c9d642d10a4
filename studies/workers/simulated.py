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
    _queue: list[tuple[float, int, Event]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._idle = list(self.names)

    def idle(self) -> Sequence[str]:
        """Those that wait."""
        return list(self._idle)

    def give(self, worker: str, piece: Piece) -> None:
        """The answer will come when its time is over."""
        self._idle.remove(worker)
        seconds, answer = self.script(worker, piece)
        event: Event = Done(worker, piece, answer) if answer else Lost(worker, piece, "it died")
        self._count += 1
        heapq.heappush(self._queue, (self.clock + seconds, self._count, event))

    def events(self, seconds: float) -> Sequence[Event]:
        """The next event; the clock stands at its time then, or `seconds` later if none is due."""
        if not self._queue or self._queue[0][0] > self.clock + seconds:
            self.clock += seconds
            return []
        self.clock, _, event = heapq.heappop(self._queue)
        name = event.worker
        self._idle.append(f"{name}'" if isinstance(event, Lost) else name)
        return [event]

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Nothing: they have no models."""
        return []

    def check(self) -> Sequence[dict[str, Any]]:
        """Nothing."""
        return []

    def drop(self, worker: str, reason: str) -> None:
        """It is replaced; what it was at comes to nothing."""
        piece = next(e.piece for _, _, e in self._queue if e.worker == worker)
        self._queue = [entry for entry in self._queue if entry[2].worker != worker]
        heapq.heapify(self._queue)
        self._count += 1
        heapq.heappush(self._queue, (self.clock, self._count, Lost(worker, piece, reason)))

    def now(self) -> float:
        """Its own clock."""
        return self.clock
