"""One worker on Ray: its actor, how it is started, and what its end is called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from studies.console import warn
from studies.workers.protocol import Piece
from studies.workers.ray_cluster import Node
from studies.workers.ray_room import Room


@dataclass(slots=True)
class Worker:
    """One actor.

    Attributes:
        name: of the worker; never used twice.
        node: where it runs.
        actor: Ray's handle.
        pieces: what it is at.
        ready: whether its models are loaded.
        dropped: why it was ended from here, or an empty string.
    """

    name: str
    node: Node
    actor: Any
    pieces: Sequence[Piece] = ()
    ready: bool = False
    dropped: str = ""


def answers(ray: Any, references: list[Any], seconds: float) -> list[Any]:
    """What comes of calls within a time, in their order; an actor that died is passed over."""
    if not references:
        return []
    came, _ = ray.wait(references, num_returns=len(references), timeout=seconds)
    found = []
    for reference in came:
        try:
            found.append(ray.get(reference))
        except ray.exceptions.RayError as error:  # its loss will be told by its next call
            warn(f"a worker did not answer: {words(error)}")
    return found


def words(error: BaseException) -> str:
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
