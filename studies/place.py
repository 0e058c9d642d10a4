"""Where a ledger lies that is not in the study's folder: in a database, which the folder names."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from studies.secrets import PASSWORD, without_secrets

PLACE = "storage.json"
_ADDRESS = re.compile(r"[a-z][a-z0-9]*(\+[a-z0-9_]+)?://\S*")
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/)(.+)")


@dataclass(frozen=True, slots=True)
class Address:
    """What a study file asks for.

    Attributes:
        url: of a database as SQLAlchemy, and so Optuna, knows them; without a password.
        study: under which name its searches shall stand there.
    """

    url: str
    study: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ledger of a folder is.

    Attributes:
        url: as of `Address`.
        study: the name of the study when its ledger was begun.
        mark: tells its searches from those that another folder began under the same name.
    """

    url: str
    study: str
    mark: str

    def named(self, search: str) -> str:
        """What Optuna calls a search; names of studies hold no slash."""
        return f"{self.study}/{search}"


def checked_address(url: str) -> str:
    """The address as it stands in a study file.

    Raises:
        ValueError: it is none, would not outlive the process, or holds a password.
    """
    if not _ADDRESS.fullmatch(url):
        raise ValueError(
            "an address of a database is wanted, such as sqlite:///night.db or "
            f"postgresql://user@host/name, but is {without_secrets(url)[:80]!r}"
        )
    if re.search(r"//[^/@]*:[^/@]+@|[?&]pass(word|wd)?=", url):
        raise ValueError(
            "the file, and the settings kept of it, are no place for a password: leave it out, "
            f"and set the environment variable {PASSWORD} or what the database's driver reads"
        )
    if url.startswith("sqlite") and (":memory:" in url or not _path(url)):
        raise ValueError("a ledger in memory is gone with the process; name a file")
    return url


def _path(url: str) -> str:
    return url.partition(":///")[2]


def absolute(url: str, folder: Path) -> str:
    """The address with a relative path of an SQLite file made absolute, from the study file's."""
    found = _SQLITE.fullmatch(url)
    return f"{found[1]}{(folder / found[2]).resolve()}" if found else url


def place_of(folder: Path) -> Place | None:
    """What the folder says; None if it names no database.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / PLACE
    if not path.is_file():
        return None
    try:
        return Place(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: it must say where the study's ledger lies, but {error}; without it the "
            "trials cannot be found."
        ) from None


def keep_place(folder: Path, place: Place) -> None:
    """Write it down; from now on the folder's trials are looked for there."""
    write_text(folder / PLACE, json.dumps(asdict(place), indent=1) + "\n")
