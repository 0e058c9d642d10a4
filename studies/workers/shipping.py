"""Files of a study for nodes that do not see them: through Ray's object store, once a node."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from objectives.images import Pictures
from objectives.objective import Objective
from objectives.records import SPLITS
from studies.workers.protocol import Order
from studies.workers.relocation import moved, study_text
from studies.workers.shipped_cache import ShippedCache, write_checked

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
        size: bytes.
        chunks: Ray's references to its bytes, in order.
    """

    path: str
    sha256: str
    size: int
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


def lacking(order: Order) -> list[str]:
    """Which paths of an order this node does not have, or is not to look for."""
    return [path for path in order.needs if order.ship == "always" or not Path(path).exists()]


def named_pictures(objectives: Sequence[Objective]) -> set[Path]:
    """Picture files that the rows of objectives name; all of them were read and decoded.

    Each stands there as it is named and without links: the study's folder may be a link, or the
    pictures'.
    """
    images = [
        example.images
        for objective in objectives
        for split in SPLITS
        for example in objective.examples(split)
    ]
    stored = [p.stored for own in images if isinstance(own, Pictures) for p in own.stored]
    paths = {path for path in stored if isinstance(path, Path)}
    named = {Path(os.path.abspath(path)) for path in paths}  # noqa: PTH100 (`resolve` follows links)
    return named | {path.resolve() for path in paths}


def load(put: Callable[[bytes], Any], order: Order, pictures: Collection[Path] = ()) -> Order:
    """The order with its files in the object store.

    Args:
        put: into the store.
        order: names files and folders.
        pictures: see `named_pictures`.

    Raises:
        UserError: what is needed is no data, or a link leads out of a folder.
    """
    items = []
    needed = {file for place in order.needs for file in _files(Path(place))}
    for path in sorted(needed.union(pictures)):
        digest, size, chunks = hashlib.sha256(), 0, []
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                chunks.append(put(chunk))
        items.append(Item(str(path), digest.hexdigest(), size, chunks))
    return replace(order, cargo=Cargo(items, study_text(Path(order.file), order.needs)))


def unload(get: Callable[[Any], bytes], order: Order, cache: ShippedCache) -> tuple[Order, str]:
    """Write the files into the cache of this node, unless another worker has; the order for them.

    Returns:
        The order whose paths are this node's, and what stands before all of them.

    Raises:
        UserError: there is no room for them, or they were damaged on their way.
    """
    cargo: Cargo = order.cargo
    name = json.dumps([cargo.study, [(item.path, item.sha256) for item in cargo.items]])
    with cache.locked():
        root = cache.hold(hashlib.sha256(name.encode()).hexdigest()[:24])
        for item in cargo.items:
            chunks = partial(map, get, item.chunks)
            cache.place(item.sha256, item.size, chunks, _under(root, item.path))
        study = cargo.study.encode()
        place = _under(root, order.file)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_checked(place, iter([study]), hashlib.sha256(study).hexdigest())
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
