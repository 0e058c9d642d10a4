"""Reading a study's journal without writing: fast, and while another process writes to it."""

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState

from merge_ops.errors import UserError
from studies.trial_facts import first_sampler

JOURNAL = "ledger.journal"
SEARCH, GLOBAL = "search", "global"
"""Names of the two searches in one journal: the study's own, and its rival without depth."""
SAMPLER = "sampler"
"""Attribute of a search: with which sampler it began, whatever its budget is later."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal holds.

    Attributes:
        searches: finished trials by the name of their search.
        samplers: by the name of a search, the one that proposes its points, once that is settled.
        torn: it ends in half a line: a trial that is being written, or that a crash cut short.
    """

    searches: Mapping[str, list[FrozenTrial]] = field(default_factory=dict)
    samplers: Mapping[str, str] = field(default_factory=dict)
    torn: bool = False


def read_journal(path: Path) -> Journal:
    """All finished trials; half a line at the end is left alone.

    Optuna's own reader refuses a torn journal, and takes four times as long. Only what
    `studies.ledger.Ledger` writes is understood: whole trials.

    Raises:
        UserError: it is no journal.
    """
    searches: dict[str, list[FrozenTrial]] = {}
    kept: dict[str, str] = {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    with _no_collection():
        _read(path, content[:whole], searches, kept)
    told = {name: kept.get(name) or first_sampler(trials) for name, trials in searches.items()}
    samplers = {name: sampler for name, sampler in told.items() if sampler is not None}
    return Journal(searches, samplers, whole < len(content))


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


def _read(
    path: Path,
    content: bytes,
    searches: dict[str, list[FrozenTrial]],
    samplers: dict[str, str],
) -> None:
    """Add what whole lines say to the searches and their samplers."""
    names: list[str] = []  # by the number of the search
    for number, entry in _entries(path, content):
        try:
            if entry["op_code"] == JournalOperation.CREATE_STUDY:
                if entry["study_name"] in names:
                    continue  # whoever opens a search tries to begin it
                names.append(entry["study_name"])
                searches[names[-1]] = []
            elif entry["op_code"] == JournalOperation.CREATE_TRIAL:
                own = searches[names[entry["study_id"]]]
                own.append(_trial(entry, len(own)))
            elif SAMPLER in entry.get("user_attr", ()):
                samplers[names[entry["study_id"]]] = entry["user_attr"][SAMPLER]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}:{number}: it is no entry of a study's journal ({error!r})."
            ) from None


def read_trials(folder: Path, name: str = SEARCH) -> list[FrozenTrial]:
    """The finished trials of a study's folder; nothing is written, whoever runs the study.

    Raises:
        UserError: the folder holds no journal, or no such search.
    """
    path = folder / JOURNAL
    if not path.is_file():
        raise UserError(f"{folder}: a study's folder holds {JOURNAL}, but this one does not.")
    searches = read_journal(path).searches
    if name not in searches:
        raise UserError(f"{path}: there is no search {name!r} in it yet.")
    return searches[name]


def _entries(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: each line of a study's journal must be JSON, but: {error}."
            ) from None
        yield number, entry


def _trial(entry: Mapping[str, Any], number: int) -> FrozenTrial:
    """Parameters stand in the journal in their internal form, as Optuna calls it."""
    kinds = {name: _distribution(text) for name, text in entry["distributions"].items()}
    values = entry.get("values")
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState(entry["state"]),
        value=None if values is not None else entry.get("value"),
        values=values,
        datetime_start=_moment(entry.get("datetime_start")),
        datetime_complete=_moment(entry.get("datetime_complete")),
        params={k: kinds[k].to_external_repr(v) for k, v in entry["params"].items()},
        distributions=kinds,
        user_attrs=entry["user_attrs"],
        system_attrs=entry["system_attrs"],
        intermediate_values={},
    )


def _moment(text: str | None) -> datetime | None:
    """In local time without a zone, as Optuna gives it."""
    return None if text is None else datetime.fromisoformat(text).astimezone().replace(tzinfo=None)


@cache
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
