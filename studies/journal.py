"""Reading a study's ledger without writing: fast, and while another process writes to it."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial

from merge_ops.errors import UserError
from studies.journal_lines import CLAIM, SAMPLER, parsed, trial_of
from studies.mistaken import no_study
from studies.place import PLACE, place_of
from studies.trial_facts import first_sampler

JOURNAL = "ledger.journal"
SEARCH, GLOBAL = "search", "global"
"""Names of the two searches in one journal: the study's own, and its rival without depth."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a ledger holds.

    Attributes:
        searches: finished trials by the name of their search, in the order of their beginnings.
        claims: digests of the studies that fill them, by the same names.
        samplers: those that propose their points, by the same names, once that is settled.
        torn: it ends in half a line: a trial that is being written, or that a crash cut short.
    """

    searches: Mapping[str, list[FrozenTrial]] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    samplers: Mapping[str, str] = field(default_factory=dict)
    torn: bool = False


def read_journal(path: Path) -> Journal:
    """All finished trials; half a line at the end is left alone.

    Optuna's own reader refuses a torn journal, and takes many times as long. Only what
    `studies.ledger.Ledger` writes is understood: whole trials.

    Raises:
        UserError: it is no journal.
    """
    searches: dict[str, list[FrozenTrial]] = {}
    facts: dict[str, dict[str, str]] = {}
    torn = False
    with _no_collection(), path.open("rb") as stream:
        for number, text in enumerate(stream, start=1):
            torn = not text.endswith(b"\n")
            if torn:
                break
            try:
                _take(text, searches, facts)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                raise UserError(
                    f"{path}:{number}: it is no line of a study's journal ({error!r})."
                ) from None
    claims = {name: own[CLAIM] for name, own in facts.items() if CLAIM in own}
    told = {n: facts[n].get(SAMPLER) or first_sampler(own) for n, own in searches.items()}
    return Journal(searches, claims, {n: one for n, one in told.items() if one}, torn)


def _take(
    text: bytes, searches: dict[str, list[FrozenTrial]], facts: dict[str, dict[str, str]]
) -> None:
    """Add what a whole line says: the trials of each search, and its attributes."""
    line = parsed(text)
    kind = line["op_code"]
    if kind == JournalOperation.CREATE_STUDY:
        searches.setdefault(line["study_name"], [])  # Optuna tries to begin what it opens
        facts.setdefault(line["study_name"], {})
    elif kind == JournalOperation.CREATE_TRIAL:
        own = [*searches.values()][line["study_id"]]
        own.append(trial_of(line, len(own)))
    elif kind == JournalOperation.SET_STUDY_USER_ATTR:
        facts[[*searches][line["study_id"]]].update(line["user_attr"])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking through ever more trials: a fifth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def has_ledger(folder: Path) -> bool:
    """Whether the study of a folder has begun to keep trials, there or in a storage."""
    return (folder / JOURNAL).is_file() or (folder / PLACE).is_file()


def read_ledger(folder: Path) -> Journal:
    """What the ledger of a study's folder holds, wherever it lies; nothing is written.

    Raises:
        UserError: the folder has no ledger, or it cannot be read or reached.
    """
    place = place_of(folder)
    if place is not None:
        from studies.storage import open_storage

        return open_storage(place).read()
    path = folder / JOURNAL
    if not path.is_file():
        text = f"a study's folder holds {JOURNAL} or {PLACE}, but this one does not."
        raise no_study(folder, text)
    return read_journal(path)


def read_trials(folder: Path, name: str = SEARCH) -> list[FrozenTrial]:
    """The finished trials of a study's folder; nothing is written, whoever runs the study.

    Raises:
        UserError: as `read_ledger`, or there is no such search.
    """
    searches = read_ledger(folder).searches
    if name not in searches:
        raise UserError(f"{folder}: there is no search {name!r} in its ledger yet.")
    return searches[name]
