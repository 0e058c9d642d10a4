"""The process that Ray starts for one worker: a bench behind two calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from studies.workers.protocol import Answer, Facts, Order, Piece

if TYPE_CHECKING:
    from studies.workers.bench import Bench


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be done by any worker like this one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Paths that this node does not have."""

    paths: list[str]


class BenchActor:
    """A bench in a process of its own; users' mistakes come back as refusals, all else raises."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def open(self, order: Order) -> Facts | Refusal | Absent:
        """Load models and data; what the node lacks is asked for once."""
        from studies.workers.bench import open_bench
        from studies.workers.shipping import cache_folder, lacking, unload

        absent, root = lacking(order.needs), ""
        if absent and order.cargo is None:
            return Absent(absent)
        try:
            if absent:
                import ray

                order, root = unload(ray.get, order, cache_folder())
            self._bench = open_bench(order, root)
        except (UserError, ObjectiveError) as error:
            return Refusal(str(error))
        return self._bench.facts()

    def score(self, piece: Piece) -> Answer | Refusal:
        """Score one block on one model."""
        assert self._bench is not None, "opened first"
        try:
            return self._bench.score(piece)
        except (UserError, ObjectiveError) as error:
            return Refusal(str(error))
