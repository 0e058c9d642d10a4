"""The points in flight, written down before anybody scores them: a killed study loses none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from merge_ops.atomic import write_text
from search.dimension import Point
from search.in_flight import Pending, serial_of

POINTS = "points.jsonl"
_SLACK = 1000  # lines of finished points after which the file is written anew


@dataclass(frozen=True, slots=True)
class Asked:
    """A point in flight, and how it was proposed.

    Attributes:
        point: itself.
        source: who proposed it.
        suggest: seconds that this took.
    """

    point: Pending
    source: str
    suggest: float


class Points:
    """The points in flight of one search, in a file that grows by a line for each.

    Only the study's one writer may use it. What the ledger has is no longer in flight, so nothing
    need be written when a trial is told: it cannot be lost in between, nor told twice.
    """

    def __init__(self, folder: Path, search: str, trials: Sequence[FrozenTrial]) -> None:
        """Read what an earlier run left.

        Args:
            folder: the study's.
            search: its name; another search's points are another file's.
            trials: the ledger's.
        """
        self._path = folder / f"{search}-{POINTS}"
        told = {serial_of(trial) for trial in trials}
        self.open: dict[int, Asked] = {
            asked.point.serial: asked
            for asked in _read(self._path)
            if asked.point.serial not in told
        }
        self._lines = 0
        if self._path.is_file():
            self._rewrite()

    def add(self, asked: Asked) -> None:
        """Write down a new point."""
        self.open[asked.point.serial] = asked
        self._lines += 1
        if self._lines > _SLACK + 4 * len(self.open):
            self._rewrite()
            return
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(asked))

    def told(self, serial: int) -> None:
        """The ledger has it."""
        del self.open[serial]

    def forget(self) -> None:
        """Delete the file if nothing is in flight."""
        if not self.open:
            self._path.unlink(missing_ok=True)

    def pending(self) -> list[Pending]:
        """All points in flight, in the order of their proposals."""
        return [self.open[serial].point for serial in sorted(self.open)]

    def _rewrite(self) -> None:
        write_text(self._path, "".join(_line(asked) for asked in self.open.values()))
        self._lines = len(self.open)


def points_left(folder: Path) -> bool:
    """Whether an earlier run left points in flight, which any other run must take up first."""
    return any(path.stat().st_size for path in folder.glob(f"*-{POINTS}"))


def _line(asked: Asked) -> str:
    point = asked.point
    facts = [point.serial, point.after, dict(point.values), dict(point.tags)]
    return json.dumps([*facts, asked.source, round(asked.suggest, 6)]) + "\n"


def _read(path: Path) -> list[Asked]:
    """All whole lines; one that a crash cut short is of a point that nobody had begun to score."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            serial, after, values, tags, source, suggest = json.loads(line)
            found.append(_asked(serial, after, values, tags, source, suggest))
    return found


def _asked(
    serial: int,
    after: int,
    values: Point,
    tags: Mapping[str, int],
    source: str,
    suggest: float,
) -> Asked:
    return Asked(Pending(serial, after, values, tags), source, suggest)
