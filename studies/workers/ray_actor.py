"""The process that Ray starts for one worker: a bench behind a few calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from studies.workers.protocol import Answer, Facts, Order, Piece

if TYPE_CHECKING:
    from studies.workers.bench import Bench

Said = TypeVar("Said")


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
        self._held: Any = None

    def open(self, order: Order) -> Facts | Refusal | Absent:
        """Load models and data; what the node lacks is asked for once."""
        from studies.workers.shipping import lacking

        if order.cargo is None and (absent := lacking(order)):
            return Absent(absent)
        return _said(lambda: self._open(order))

    def _open(self, order: Order) -> Facts:
        from studies.workers.bench import open_bench
        from studies.workers.shipped_cache import ShippedCache, cache_folder
        from studies.workers.shipping import lacking, unload

        root = ""
        if lacking(order):
            import ray

            self._held = ShippedCache(cache_folder())  # for as long as this process lives
            order, root = unload(ray.get, order, self._held)
        self._bench = open_bench(order, root)
        return self._bench.facts()

    def score(self, pieces: Sequence[Piece]) -> list[Answer] | Refusal:
        """Score some blocks of one candidate."""
        return _said(lambda: [self._opened().score(piece) for piece in pieces])

    def record(self) -> dict[str, Any]:
        """As `Bench.record`."""
        return self._opened().record()

    def check(self) -> list[dict[str, Any]] | Refusal:
        """As `Bench.check`."""
        return _said(lambda: self._opened().check())

    def _opened(self) -> "Bench":
        assert self._bench is not None, "opened first"
        return self._bench


def _said(do: Callable[[], Said]) -> Said | Refusal:
    """What comes of it, or why it is refused."""
    try:
        return do()
    except (UserError, ObjectiveError) as error:
        return Refusal(str(error))
