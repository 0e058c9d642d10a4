"""A Ray actor that sleeps like a GPU; it imports nothing heavy, so that many start at once."""

import hashlib
import os
import time
from collections.abc import Sequence
from typing import Any

from objectives.records import ExampleScore
from studies.workers.protocol import Answer, Facts, Order, Piece
from studies.workers.ray_room import Room


class SleepingActor:
    """Scores that follow from recipe and example alone, after a nap."""

    def __init__(self, blocks: Sequence[Sequence[str]], seconds: float) -> None:
        """Args: `blocks` are the ids of each block's examples."""
        self._blocks = blocks
        self._seconds = seconds

    def open(self, _order: Order) -> Facts:
        return Facts(6, (), (), "", "cpu", 1, "here", os.getpid())

    def score(self, pieces: Sequence[Piece]) -> list[Answer]:
        time.sleep(self._seconds * len(pieces))
        found = [guesses(piece, self._blocks[piece.block]) for piece in pieces]
        return [Answer((own,), 0.0, self._seconds) for own in found]


def guesses(piece: Piece, ids: Sequence[str]) -> tuple[ExampleScore, ...]:
    """Right more often where the weights are near 0.5."""
    models = [source.parameters["weight"] for source in piece.recipe.models]
    values = [entry.value for own in models for entry in own]
    weights = [float(w) for v in values for w in (v if isinstance(v, tuple) else (v,))]
    good = 1 - sum((w - 0.5) ** 2 for w in weights) / len(weights)
    found = []
    for id_ in ids:
        luck = (
            hashlib.sha256(f"{weights} {id_}{piece.recipe.seed or ''}".encode()).digest()[0] / 255
        )
        found.append(ExampleScore(id_, float(luck < good), "all"))
    return tuple(found)


def sleeper(ray: Any, blocks: Sequence[Sequence[str]], seconds: float) -> Any:
    """What `RayPool` calls to start one on a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    kind, shared = ray.remote(SleepingActor), ray.put([list(b) for b in blocks])

    def make(node: Any, room: Room) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
        options = kind.options(num_cpus=room.cpus, scheduling_strategy=strategy)
        return options.remote(shared, seconds)

    return make
