"""Where a study is mirrored, and whether MLflow has a store of that kind."""

import os
from importlib.metadata import entry_points
from pathlib import Path

from studies.secrets import without_secrets
from studies.tracking_store import STORE

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SCHEMES = ("http", "https", "file", "databricks", "databricks-uc", "uc", *_DATABASES)
_PLUGINS = "mlflow.tracking_store"


def tracking_uri(config_uri: str | None, runs_folder: Path) -> str:
    """Where a study's trials are mirrored.

    Args:
        config_uri: `tracking.uri` of the study file, which wins over the environment's
            MLFLOW_TRACKING_URI, which wins over the local store.
        runs_folder: the folder that holds the studies' folders; studies in it share one store, so
            that they can be compared.
    """
    local = f"sqlite:///{runs_folder.resolve() / STORE}"
    return config_uri or os.environ.get("MLFLOW_TRACKING_URI") or local


def address_problem(uri: str) -> str | None:
    """Why MLflow cannot have a store at an address, whoever answers there; None if it can."""
    shown = without_secrets(uri)[:200]
    scheme, colon, rest = uri.partition(":")
    if scheme == "file" or (not colon and uri and uri not in _SCHEMES):
        allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
        text = f"MLflow keeps no runs in folders any more ({shown!r}): sqlite:///PATH.db is a file"
        return None if allowed else text
    if not colon:
        return None
    kind = scheme.partition("+")[0]
    if kind not in _SCHEMES and kind not in entry_points(group=_PLUGINS).names:
        known = ", ".join(f"{name}:" for name in _SCHEMES)
        return f"MLflow has no store at {shown!r}: an address begins with one of {known}"
    if kind == "sqlite" and not rest.startswith("///"):
        return f"a file of SQLite is sqlite:///PATH, with three slashes, but got {shown!r}"
    if kind in ("http", "https", *_DATABASES[1:]) and not rest.removeprefix("//").strip("/"):
        return f"{shown!r} names no host: {kind}://HOST:PORT"
    return None


def silent(uri: str, timeout_s: float = 3.0) -> str | None:
    """Why nobody seems to answer at an address just now; None if somebody may.

    Servers are asked whether they are well; of a local file the first bytes are read. Nothing is
    written.
    """
    from studies.tracking_store import local_store

    if (store := local_store(uri)) is not None:
        return _no_database(store)
    if not uri.startswith(("http://", "https://")):
        return None
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/health")
            connection.getresponse()
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _no_database(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            first = stream.read(15)
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error)
    return None if first in (b"", b"SQLite format 3") else "the file is no database of SQLite"
