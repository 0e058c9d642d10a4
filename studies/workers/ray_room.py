"""What a worker takes, and which nodes of a cluster still take workers."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from merge_ops.errors import UserError
from studies.console import warn
from studies.workers.ray_cluster import Node, nodes

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
class Roll:
    """The nodes that take workers; one on which worker after worker is lost is left out.

    Attributes:
        ray: the module, connected.
        room: for each worker.
        left_out: why, by node.
    """

    ray: Any
    room: Room
    left_out: dict[str, str] = field(default_factory=dict)
    _faults: Counter[str] = field(default_factory=Counter)
    _nobody_since: float | None = None

    def places(self, at: Counter[str]) -> list[Node]:
        """Where further workers may start, as often as there is room, emptier nodes first.

        Args:
            at: how many workers there are, by node.
        """
        usable = [n for n in nodes(self.ray) if n.id not in self.left_out]
        places = [
            (at[node.id] + i, node)
            for node in usable
            for i in range(self.room.on(node) - at[node.id])
        ]
        wanted = len(places) if self.room.workers is None else self.room.workers - at.total()
        return [node for _, node in sorted(places, key=lambda p: p[0])[: max(0, wanted)]]

    def scored(self, node: Node) -> None:
        """A block was scored there: losses are counted anew."""
        self._faults.pop(node.id, None)

    def refused(self, node: Node, reason: str) -> None:
        """No worker can work there."""
        self.left_out[node.id] = reason

    def lost(self, node: Node, reason: str) -> None:
        """A worker was lost there; the node is left out if that happens again and again."""
        self._faults[node.id] += 1
        others = [n for n in nodes(self.ray) if n.id not in {node.id, *self.left_out}]
        allowed = _FAULTS if any(map(self.room.on, others)) else _LAST_FAULTS
        if node.id not in self.left_out and self._faults[node.id] >= allowed:
            self.left_out[node.id] = reason
            warn(f"node {node.address} is left out: {allowed} workers in a row were lost on it")

    def check(self, workers: int) -> None:
        """Give up when there is nobody for long, or nobody may come.

        Raises:
            UserError: with the reason.
        """
        if workers:
            self._nobody_since = None
            return
        now = time.monotonic()
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
