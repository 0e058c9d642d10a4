"""The scored blocks of a half-scored candidate, kept so that a killed study goes on from them."""

import json
import os
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from optuna.trial import FrozenTrial

from objectives.evaluation import BlockScores
from objectives.records import ExampleScore
from studies.console import warn

PREFIX, SUFFIX = "half-scored-", ".jsonl"
_SYNC_EVERY = 1.0  # seconds of scoring that a power cut may cost; a killed process loses nothing


@dataclass(frozen=True, slots=True)
class Kept:
    """One scored block.

    Attributes:
        scores: by objective, as the evaluation gave them.
        seconds: that it took.
    """

    scores: BlockScores
    seconds: float


class Blocks(Protocol):
    """Where the blocks of one candidate are kept: here, or by a process that is told of them."""

    def get(self, part: str, index: int, /) -> Kept | None:
        """A stored block, or None."""
        ...

    def put(self, part: str, index: int, kept: Kept, /) -> None:
        """Store one block."""
        ...


END = "end"
"""In place of a digest: what the end of a study scores, on confirm and test."""
Place = tuple[str, int]
"""A part of a candidate (`Part.key`), and the index of a block of it."""


def block_line(place: Place, kept: Kept) -> bytes:
    """One block as a line of text with its checksum; floats come back as they were, bit by bit."""
    scores = [
        [[s.id, s.value, s.category, list(s.flags), s.margin] for s in own] for own in kept.scores
    ]
    text = json.dumps([*place, round(kept.seconds, 6), scores], separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_blocks(content: bytes) -> tuple[dict[Place, Kept], int]:
    """All whole lines up to the first that is torn or damaged, and their size in bytes."""
    found: dict[Place, Kept] = {}
    size = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(line[9:-1]):
            break
        try:
            part, index, seconds, scores = json.loads(line[9:])
            blocks = tuple(tuple(_score(*score) for score in own) for own in scores)
        except (ValueError, TypeError):  # whole, but written by another version
            break
        found[part, index] = Kept(blocks, seconds)
        size += len(line)
    return found, size


def _score(
    id_: str, value: float, category: str, flags: list[str], margin: float | None
) -> ExampleScore:
    return ExampleScore(id_, value, category, tuple(flags), margin)


def forget_told(folder: Path, trials: Sequence[FrozenTrial]) -> None:
    """Delete files of candidates that the ledger has: a process died before it could."""
    left = list(folder.glob(f"{PREFIX}*{SUFFIX}"))
    told = {_name(trial.user_attrs["digest"]) for trial in trials} if left else set()
    for path in left:
        if path.name in told:
            path.unlink()


def _name(digest: str) -> str:
    return f"{PREFIX}{digest[:24]}{SUFFIX}"


class HalfScored:
    """The stored blocks of one candidate, in a file of its own that goes when its trial is told.

    Only the study's one writer may use it. A block is appended by one write, so that a killed
    process loses none; if the disk has no room, blocks wait in memory for the next one.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        """Read what an earlier run left, and cut off a torn end.

        Args:
            folder: the study's.
            digest: of the candidate, or `END`; it names the file.
        """
        self._path = folder / _name(digest)
        self._unwritten = b""
        self._synced = time.monotonic()
        self._blocks: dict[Place, Kept] = {}
        self._size = 0
        if self._path.is_file():
            self._blocks, self._size = read_blocks(self._path.read_bytes())

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, part: str, index: int) -> Kept | None:
        """A stored block, or None."""
        return self._blocks.get((part, index))

    def put(self, part: str, index: int, kept: Kept) -> None:
        """Store one block; a fault of the disk is said, and costs nothing but this safety."""
        self._blocks[part, index] = kept
        self._unwritten += block_line((part, index), kept)
        try:
            self._append(self._unwritten)
        except OSError as error:
            if self._unwritten.count(b"\n") == 1:
                warn(f"{self._path.name}: scored blocks are kept in memory only: {error}")
        else:
            self._unwritten = b""

    def forget(self) -> None:
        """Delete the file: the ledger has the trial."""
        self._path.unlink(missing_ok=True)
        self._blocks, self._size = {}, 0

    def _append(self, content: bytes) -> None:
        """Write behind the last whole line, over whatever a failed write has left there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags, 0o644), "r+b", buffering=0) as stream:
            stream.truncate(self._size)
            stream.seek(self._size)
            if stream.write(content) != len(content):
                raise OSError("only a part of a block could be written")
            if time.monotonic() - self._synced >= _SYNC_EVERY:
                os.fsync(stream.fileno())
                self._synced = time.monotonic()
        self._size += len(content)


@dataclass(slots=True)
class Part:
    """What one evaluation of a candidate keeps; an `objectives.evaluation.BlockStore`.

    Attributes:
        key: of the blocks: who asks, and what the plan of the evaluation is.
        blocks: looked up and stored here.
        before_block: called before a block is scored; what it raises ends the scoring, and the
            blocks before are kept.
        spent: seconds of the blocks that were taken from the store.
    """

    key: str
    blocks: Blocks
    before_block: Callable[[], None]
    spent: float = 0.0
    _begun: float = field(default=0.0)

    def begun(self) -> bool:
        """Whether an earlier run has stored its first block."""
        return self.blocks.get(self.key, 0) is not None

    def get(self, index: int) -> BlockScores | None:
        """A stored block's scores; None if it must be scored now."""
        kept = self.blocks.get(self.key, index)
        if kept is not None:
            self.spent += kept.seconds
            return kept.scores
        self.before_block()
        self._begun = time.perf_counter()
        return None

    def put(self, index: int, scores: BlockScores) -> None:
        """Store a block that was scored just now."""
        self.blocks.put(self.key, index, Kept(scores, time.perf_counter() - self._begun))
