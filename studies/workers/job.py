"""One candidate on its way through the workers, block by block."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from objectives.evaluation import BlockScores
from studies.workers.protocol import Answer, Piece

_LOSSES = 5
"""Workers that one piece may take with it before its candidate fails."""

Prefix = Sequence[BlockScores]
"""Scores of the first pieces, without a gap."""


@dataclass(slots=True)
class Job:
    """Pieces of one candidate: what is scored, what is being scored, and whether it goes on.

    Whether it goes on is asked after each piece in order, whatever the order of their results, so
    that a decision never depends on how many workers there are.

    Attributes:
        pieces: in order.
        stops: told the scores of the first pieces; true if no further one is wanted.
        raced: whether that can be.
        keep: told each new result.
        number: a number of its own.
        seeds: of random masks, which the pieces go through in turn.
        scores: results, by index.
        reason: why it failed, or an empty string.
        seconds: by phase, of all pieces.
        memory: the most that a worker held for a piece of it, in bytes by place.
    """

    number: int
    pieces: Sequence[Piece]
    stops: Callable[[Prefix], bool] = lambda _: False
    keep: Callable[[Piece, Answer], None] = lambda *_: None
    scores: dict[int, BlockScores] = field(default_factory=dict)
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=lambda: {"build": 0.0, "score": 0.0})
    memory: dict[str, int] = field(default_factory=dict)
    seeds: int = 1
    raced: bool = False
    _given: set[int] = field(default_factory=set)
    _losses: Counter[int] = field(default_factory=Counter)
    _one_by_one: bool = False
    _looked: int = 0
    _ended: bool = False

    def restore(self, scores: Mapping[int, BlockScores]) -> None:
        """Begin with results that an earlier run has kept."""
        self.scores |= scores
        self._look()

    @property
    def over(self) -> bool:
        """Whether no further result is wanted."""
        return bool(self.reason) or self._ended

    def few(self, count: int) -> list[Piece]:
        """The first pieces that nobody is at: one, or where nothing can stop it so many."""
        taken = self._given | self.scores.keys()
        free = [] if self.over else [p for p in self.pieces if p.index not in taken]
        return free[: 1 if self.raced or self._one_by_one else count]

    def next(self) -> Piece | None:
        """The first piece that nobody is at, or None."""
        if self.over:
            return None
        taken = self._given | self.scores.keys()
        return next((p for p in self.pieces if p.index not in taken), None)

    def waiting(self) -> int:
        """How many pieces nobody is at."""
        return 0 if self.over else len(self.pieces) - len(self.scores) - len(self._given)

    def give(self, piece: Piece) -> None:
        """Somebody is at a piece from now on."""
        self._given.add(piece.index)

    def take(self, piece: Piece, answer: Answer) -> None:
        """A result has come; one that is no longer wanted is passed over."""
        self._given.discard(piece.index)
        if self.over or piece.index in self.scores:
            return
        self.seconds["build"] += answer.build
        self.seconds["score"] += answer.score
        for place, most in answer.memory.items():
            self.memory[place] = max(most, self.memory.get(place, 0))
        self.scores[piece.index] = answer.scores
        self.keep(piece, answer)
        self._look()

    def fail(self, reason: str) -> None:
        """It cannot be scored."""
        if not self.over:
            self.reason = reason

    def lose(self, pieces: Sequence[Piece], reason: str) -> None:
        """The worker that was at pieces is gone; after some of them it is one piece's fault.

        Which of several it was nobody knows, so that from then on they are given one by one.
        """
        self._given.difference_update(piece.index for piece in pieces)
        self._one_by_one = True
        if len(pieces) > 1:
            return
        index = pieces[0].index
        self._losses[index] += 1
        if self._losses[index] >= _LOSSES:
            self.fail(f"{_LOSSES} workers were lost over the same block: {reason}")

    def prefix(self) -> list[BlockScores]:
        """Results of the first pieces, as far as they were looked at."""
        return [self.scores[i] for i in range(self._looked)]

    def _look(self) -> None:
        """Ask after each further piece without a gap, but the last."""
        while not self._ended and self._looked < len(self.pieces) and self._looked in self.scores:
            self._looked += 1
            last = self._looked == len(self.pieces)
            self._ended = last or self.stops(self.prefix())
