"""One worker in this very process: what a study with points in flight goes on with without Ray."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from studies.workers.bench import Bench
from studies.workers.protocol import Done, Event, Piece, Refused

_ONLY = "this process"


@dataclass(slots=True)
class InProcess:
    """A bench that scores its piece when it is asked what happened.

    Attributes:
        bench: models and data.
    """

    bench: Bench
    _pieces: list[Piece] = field(default_factory=list)

    def idle(self) -> Sequence[str]:
        """Itself, unless it has a piece."""
        return [] if self._pieces else [_ONLY]

    def give(self, _worker: str, pieces: Sequence[Piece]) -> None:
        """To be scored as soon as somebody asks for events."""
        self._pieces = list(pieces)

    def events(self, _seconds: float) -> Sequence[Event]:
        """The outcome of its next piece."""
        if not self._pieces:
            return []
        piece = self._pieces.pop(0)
        try:
            return [Done(_ONLY, piece, self.bench.score(piece))]
        except (UserError, ObjectiveError) as error:
            self._pieces.clear()
            return [Refused(_ONLY, piece, str(error))]

    def records(self) -> Sequence[Mapping[str, Any]]:
        """How it scored."""
        return [self.bench.record()]

    def check(self) -> Sequence[dict[str, Any]]:
        """As `Bench.check`."""
        return self.bench.check()

    def drop(self, _worker: str, _reason: str) -> None:
        """Nothing: what is asked here is asked after the fact."""

    def now(self) -> float:
        """Seconds on this machine's clock."""
        return time.monotonic()
