"""A study's ledger in an Optuna storage: SQLite, PostgreSQL, whatever SQLAlchemy reaches."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from merge_ops.errors import UserError
from studies.journal import Journal
from studies.journal_lines import CLAIM, SAMPLER
from studies.place import Address, Place, keep_place
from studies.secrets import PASSWORD, reason_of
from studies.trial_facts import first_sampler

MARK = "folder"
"""Attribute of a search: which study's folder began it."""
_SQLITE_WAIT = 60  # seconds that a write waits for readers of the same file


class Storage:
    """A `LedgerStore` of Optuna's own calls; a trial is one transaction."""

    def __init__(self, place: Place, storage: RDBStorage) -> None:
        """Args: `place` says which searches are this study's; `storage` is open."""
        self._place, self._storage = place, storage
        self._studies: dict[str, optuna.Study] = {}

    def read(self) -> Journal:
        """All its searches, with their trials.

        Raises:
            UserError: it cannot be reached, or something else has written to them.
        """
        prefix = self._place.named("")
        searches: dict[str, list[FrozenTrial]] = {}
        facts: dict[str, Mapping[str, Any]] = {}
        with _reached(self._place.url):
            for full in optuna.get_all_study_names(self._storage):
                if not full.startswith(prefix):
                    continue
                study, name = self._study(full), full.removeprefix(prefix)
                trials, own = study.get_trials(deepcopy=False), study.user_attrs
                if MARK not in own and not trials:
                    continue  # its beginning was cut short
                self._check_mark(full, own)
                _check_numbers(full, self._place.url, trials)
                searches[name], facts[name] = trials, own
        claims = {name: own[CLAIM] for name, own in facts.items() if CLAIM in own}
        told = {n: facts[n].get(SAMPLER) or first_sampler(own) for n, own in searches.items()}
        return Journal(searches, claims, {n: one for n, one in told.items() if one})

    def begin(self, search: str, objectives: int) -> None:
        """A new search; one whose beginning was cut short is gone on with."""
        full, directions = self._place.named(search), [StudyDirection.MAXIMIZE] * objectives
        with _reached(self._place.url):
            try:
                study = optuna.create_study(
                    storage=self._storage, study_name=full, directions=directions
                )
            except DuplicatedStudyError:
                study = self._study(full)
                if study.get_trials(deepcopy=False) or study.user_attrs:
                    self._check_mark(full, study.user_attrs)
            study.set_user_attr(MARK, self._place.mark)
            self._studies[full] = study

    def add(self, search: str, trial: FrozenTrial, number: int) -> FrozenTrial:
        """One transaction, then read back: its number tells whether somebody else writes too."""
        full = self._place.named(search)
        with _reached(self._place.url):
            study = self._study(full)
            study.add_trial(trial)
            trials = study.get_trials(deepcopy=False)
        _check_numbers(full, self._place.url, trials, number + 1)
        return trials[-1]

    def note(self, search: str, key: str, value: str) -> None:
        """An attribute of the search."""
        with _reached(self._place.url):
            self._study(self._place.named(search)).set_user_attr(key, value)

    def _study(self, full: str) -> optuna.Study:
        """Loaded once: it remembers the trials that it has read."""
        if full not in self._studies:
            self._studies[full] = optuna.load_study(study_name=full, storage=self._storage)
        return self._studies[full]

    def _check_mark(self, full: str, facts: Mapping[str, Any]) -> None:
        if facts.get(MARK) != self._place.mark:
            raise _taken(full, self._place.url)


def open_storage(place: Place) -> Storage:
    """The ledger of a folder that has begun one; nothing is written.

    Raises:
        UserError: it cannot be reached.
    """
    return Storage(place, _connect(place.url, begin=False))


def begin_storage(folder: Path, address: Address) -> Storage:
    """A new ledger, of which the folder is told once the storage has answered.

    Args:
        folder: the study's.
        address: of the storage, and the name of the study there.

    Raises:
        UserError: it cannot be reached, or holds a study of that name.
    """
    storage = _connect(address.url, begin=True)
    place = Place(address.url, address.study, uuid.uuid4().hex)
    with _reached(address.url):
        names = optuna.get_all_study_names(storage)
    taken = next((name for name in names if name.startswith(place.named(""))), None)
    if taken is not None:
        raise _taken(taken, address.url)
    keep_place(folder, place)
    return Storage(place, storage)


def _connect(url: str, *, begin: bool) -> RDBStorage:
    """Open a storage; its tables are made only if a ledger is begun.

    An SQLite file that has gone must not come back empty: the study would begin anew. Connections
    are not kept: between two trials a server may end them, and trials are minutes apart.
    """
    with _reached(url):
        whole, options = _whole(url), dict[str, Any](poolclass=NullPool)
        if _is_sqlite(whole):
            if not begin and not _file(whole).is_file():
                raise FileNotFoundError("there is no such file")
            options["connect_args"] = {"timeout": _SQLITE_WAIT}
        text = whole.render_as_string(hide_password=False)
        return RDBStorage(text, engine_kwargs=options, skip_table_creation=not begin)


def probe(address: Address) -> None:
    """Find out whether a ledger could be begun there; nothing is written.

    Raises:
        UserError: it cannot be reached.
    """
    with _reached(address.url):
        whole = _whole(address.url)
        if not _is_sqlite(whole):
            create_engine(whole, poolclass=NullPool).connect().close()
        elif not _file(whole).parent.is_dir():
            raise FileNotFoundError(f"there is no folder {_file(whole).parent}")


def _whole(url: str) -> URL:
    """The address with the password of the environment, if there is one."""
    secret, whole = environ.get(PASSWORD), make_url(url)
    return whole.set(password=secret) if secret and not _is_sqlite(whole) else whole


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _file(url: URL) -> Path:
    return Path(url.database or "")


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """What drivers and Optuna raise becomes one line, without a password."""
    try:
        yield
    except (OptunaError, SQLAlchemyError, ImportError, OSError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{url}: the study's ledger cannot be reached there ({reason_of(error)}). What was "
            "written before is kept; the same command goes on once it can be reached."
        ) from None


def _check_numbers(
    full: str, url: str, trials: list[FrozenTrial], count: int | None = None
) -> None:
    """Trials of one writer are finished and counted without a gap."""
    wanted = range(len(trials) if count is None else count)
    if [t.number for t in trials] != [*wanted] or not all(t.state.is_finished() for t in trials):
        raise UserError(
            f"{url}: something else has written to {full!r}, which holds {len(trials)} trials: "
            "only one process may, and whole trials. Choose another `out` folder and `name`."
        )


def _taken(full: str, url: str) -> UserError:
    return UserError(
        f"{url}: it holds a search {full!r} that another folder began. Choose another `name` or "
        "`storage`; or delete it, trials and all, by `optuna delete-study --study-name "
        f"{full!r} --storage {url}`."
    )
