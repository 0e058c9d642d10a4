"""Files of a study for nodes that do not see them: through Ray's object store, once a node."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from studies.workers.protocol import Order
from studies.workers.relocation import moved, study_text

ALWAYS = "MERGETUNA_SHIP"
"""Set to "always", a node's workers take all files from the coordinator, seen or not."""
_MODEL = {".safetensors", ".json", ".txt", ".model", ".tiktoken", ".jinja", ".yaml", ".yml"}
_TABLES = {".jsonl", ".csv", ".tsv", ".parquet", ".arrow"}
SHIPPED = _MODEL | _TABLES | {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}
_CHUNK = 64 * 2**20  # bytes of one object


@dataclass(frozen=True, slots=True)
class Item:
    """One file.

    Attributes:
        path: on the coordinator's machine, absolute.
        sha256: of its bytes, in hex.
        chunks: Ray's references to its bytes, in order.
    """

    path: str
    sha256: str
    chunks: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Cargo:
    """The files of a study; the study file itself names them relative to itself.

    Attributes:
        items: the files.
        study: the study file as text.
    """

    items: Sequence[Item]
    study: str


def lacking(paths: Sequence[str]) -> list[str]:
    """Which paths this node does not have."""
    if os.environ.get(ALWAYS) == "always":
        return list(paths)
    return [path for path in paths if not Path(path).exists()]


def cache_folder() -> Path:
    """Where shipped files are kept: in $XDG_CACHE_HOME, or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mergetuna" / "shipped"


def load(put: Callable[[bytes], Any], order: Order) -> Order:
    """The order with its files in the object store.

    Raises:
        UserError: what is needed is no data, or a link leads out of a folder.
    """
    items = []
    for path in sorted({file for place in order.needs for file in _files(Path(place))}):
        digest, chunks = hashlib.sha256(), []
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                chunks.append(put(chunk))
        items.append(Item(str(path), digest.hexdigest(), chunks))
    return replace(order, cargo=Cargo(items, study_text(Path(order.file), order.needs)))


def unload(get: Callable[[Any], bytes], order: Order, cache: Path) -> tuple[Order, str]:
    """Write the files into a folder of this node, unless another worker has; the order for them.

    A file lies in `cache` once, by its sha256, however many studies and workers read it.

    Returns:
        The order whose paths are this node's, and what stands before all of them.
    """
    cargo: Cargo = order.cargo
    name = json.dumps([cargo.study, [(item.path, item.sha256) for item in cargo.items]])
    root = cache / "studies" / hashlib.sha256(name.encode()).hexdigest()[:24]
    (cache / "files").mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when a worker dies
        for item in cargo.items:
            blob, place = cache / "files" / item.sha256, _under(root, item.path)
            if not blob.exists():
                _write(blob, map(get, item.chunks), item.sha256)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.hardlink_to(blob)
        study = cargo.study.encode()
        place = _under(root, order.file)
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, iter([study]), hashlib.sha256(study).hexdigest())
        _under(root, order.out).mkdir(parents=True, exist_ok=True)
    known = {moved(ref, str(root)): sha for ref, sha in order.identities.items()}
    file, out = str(_under(root, order.file)), str(_under(root, order.out))
    return replace(order, file=file, out=out, identities=known, cargo=None), str(root)


def _files(place: Path) -> Iterator[Path]:
    """The data files at a path; a folder may hold others, which stay where they are."""
    inside = place.resolve()
    if inside.is_file():
        if inside.suffix.lower() not in SHIPPED:
            raise UserError(
                f"{place}: a worker's node lacks it, and only data is sent there; put it on a "
                "path that all nodes share."
            )
        yield inside
        return
    for path in sorted(inside.rglob("*")):
        if path.is_file() and path.suffix.lower() in SHIPPED:
            if not path.resolve().is_relative_to(inside):
                raise UserError(
                    f"{path}: a worker's node lacks it, and it is a link out of {inside}; put "
                    "the file there, or the folder on a path that all nodes share."
                )
            yield path


def _under(root: Path, path: str) -> Path:
    """An absolute path of the coordinator's, behind a folder of this node."""
    parts = Path(path).parts
    if parts[:1] != ("/",) or ".." in parts:
        raise UserError(f"{path}: must be an absolute path without '..'.")
    return root.joinpath(*parts[1:])


def _write(path: Path, chunks: Iterator[bytes], sha256: str) -> None:
    """A file that is there whole or not at all."""
    digest, scratch = hashlib.sha256(), path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as stream:
        for chunk in chunks:
            digest.update(chunk)
            stream.write(chunk)
    if digest.hexdigest() != sha256:
        scratch.unlink()
        raise UserError(f"{path}: what came has another sha256 than what was sent.")
    scratch.replace(path)
