"""The journal in a study's folder, as its one writer sees it."""

import json
from pathlib import Path

from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from studies.disk import with_room
from studies.journal import JOURNAL, Journal, read_journal
from studies.journal_lines import (
    Line,
    attribute_line,
    parsed,
    search_line,
    trial_line,
    trial_of,
)
from studies.mending import cut, mend


class JournalFile:
    """A `LedgerStore`: a line for each trial, written at once and mended after a crash."""

    def __init__(self, folder: Path, disk_wait: float) -> None:
        """Mend what a crash has left.

        Args:
            folder: the study's.
            disk_wait: seconds that a write waits for room on a full disk.

        Raises:
            UserError: the journal is a link.
        """
        self._folder, self._path, self._disk_wait = folder, folder / JOURNAL, disk_wait
        if self._path.is_symlink():
            raise UserError(f"{self._path}: a ledger is a file of its own, but this is a link.")
        mend(self._path)
        self._names: list[str] = []

    def read(self) -> Journal:
        """All whole trials."""
        known = read_journal(self._path) if self._path.exists() else Journal()
        self._names = [*known.searches]
        return known

    def begin(self, search: str, objectives: int) -> None:
        """A new search, whose number in the journal is that of its beginning."""
        self._write(search_line(search, objectives))
        self._names.append(search)

    def add(self, search: str, trial: FrozenTrial, number: int) -> FrozenTrial:
        """One line; the trial is the same here as for whoever reads it there."""
        line = trial_line(self._names.index(search), trial)
        self._write(line)
        return trial_of(parsed(json.dumps(line).encode()), number)

    def note(self, search: str, key: str, value: str) -> None:
        """An attribute of a search."""
        self._write(attribute_line(self._names.index(search), key, value))

    def _write(self, line: Line) -> None:
        """Append to the journal; what a full disk let through of a line is taken back first."""
        path = self._path
        size = path.stat().st_size if path.exists() else 0

        def write() -> None:
            JournalFileBackend(str(path)).append_logs([dict(line)])

        with_room(write, self._folder, self._disk_wait, lambda: cut(path, size))
