"""Where the searches of a ledger are kept: in the folder's journal, or in any Optuna storage."""

from pathlib import Path
from typing import Protocol

from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from studies.journal import JOURNAL, Journal
from studies.journal_file import JournalFile
from studies.place import PLACE, Address, place_of


class LedgerStore(Protocol):
    """Takes whole trials; only one process may write to it at a time.

    Every call raises a `UserError` where what it needs cannot be reached: nothing of the call is
    there then, or all of it.
    """

    def read(self) -> Journal:
        """Everything that was written; called once, before anything else."""
        ...

    def begin(self, search: str, objectives: int) -> None:
        """A new search whose trials have so many values."""
        ...

    def add(self, search: str, trial: FrozenTrial, number: int) -> FrozenTrial:
        """One finished trial, the so-many-th; returned as whoever reads it there gets it."""
        ...

    def note(self, search: str, key: str, value: str) -> None:
        """An attribute of a search."""
        ...


def open_store(folder: Path, address: Address | None, disk_wait: float) -> LedgerStore:
    """Where a study's folder keeps its trials, from now on if it has none yet.

    Args:
        folder: the study's.
        address: of a database, or None for the folder's own journal.
        disk_wait: seconds that a write of the journal waits for room on a full disk.

    Raises:
        UserError: the folder's ledger is elsewhere, or cannot be reached.
    """
    place = place_of(folder)
    if address is None and place is None:
        return JournalFile(folder, disk_wait)
    if address is None or (place is not None and place.url != address.url):
        raise _elsewhere(folder / PLACE, place.url if place else "", address)
    if (folder / JOURNAL).exists():
        raise _elsewhere(folder / JOURNAL, JOURNAL, address)
    from studies.storage import begin_storage, open_storage

    return begin_storage(folder, address) if place is None else open_storage(place)


def _elsewhere(said_by: Path, there: str, address: Address | None) -> UserError:
    asked = JOURNAL if address is None else address.url
    return UserError(
        f"{said_by}: the study's ledger is {there}, not {asked}: trials are not moved. Undo the "
        "change of `storage`, or choose another `out` folder."
    )
