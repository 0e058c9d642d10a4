"""Examples from a parquet file, JSON lines, an image folder or the hub, through `datasets`."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.errors import ObjectiveError

if TYPE_CHECKING:
    from PIL.Image import Image

_READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class Example:
    """One item to score a model on.

    Attributes:
        id: unique within its objective.
        question: what the user asks.
        images: what the user shows, RGB, in order; empty for a question in words alone.
        texts: single texts that the objective needs, by role ("answer", "chosen", "rejected").
        category: groups examples in reports and in macro averages.
        lists: several texts, by role ("answers", "options", "responses").
        numbers: by role ("correctness", "bbox", "precision").
        groups: further categories, by name.
    """

    id: str
    question: str
    images: tuple["Image", ...]
    texts: Mapping[str, str]
    category: str
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def pixels_sha256(self) -> str | None:
        """Digest of the decoded images, which tells the same pictures under another name."""
        if not self.images:
            return None
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{image.size}".encode() + image.tobytes())
        return digest.hexdigest()


def read_examples(
    source: str, roles: Sequence[str], columns: Mapping[str, str], limit: int | None = None
) -> tuple[Example, ...]:
    """Read the examples of one split, in the order of the data.

    Args:
        source: a .parquet, .jsonl, .json or .csv file, a folder of images with metadata, or
            `owner/name:split` on the hub.
        roles: the text columns that the objective needs beside id and question.
        columns: our column names to the data's, where they differ. `image` and `category` may be
            missing in the data: then there is no image, and one category "all".
        limit: take only the first so many.

    Raises:
        ObjectiveError: the data cannot be read, a column is missing, an id stands twice, an image
            does not decode, or there are no examples.
    """
    table = _load(source)
    names = {role: columns.get(role, role) for role in ("id", "question", *roles)}
    optional = {role: columns.get(role, role) for role in ("image", "category")}
    asked = [*names.values(), *(v for k, v in optional.items() if k in columns)]
    missing = [name for name in asked if name not in table.column_names]
    if missing:
        raise ObjectiveError(
            f"{source}: the columns {sorted(asked)} are needed, but {missing} are missing; found "
            f"{sorted(table.column_names)}. Map them with `columns: {{ours: theirs}}`."
        )
    folder = Path(source).parent
    rows = range(len(table) if limit is None else min(limit, len(table)))
    examples = tuple(_example(source, folder, table, i, names, optional) for i in rows)
    _check(source, examples)
    return examples


def _load(source: str) -> Any:
    """The `datasets` table of a source."""
    import datasets

    datasets.disable_progress_bars()
    path = Path(source)
    try:
        if path.is_dir():
            return datasets.load_dataset("imagefolder", data_dir=str(path), split="train")
        if path.suffix in _READERS:
            return _read_file(path)
        name, _, split = source.partition(":")
        return datasets.load_dataset(name, split=split or "test")
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ObjectiveError(f"{source}: the data cannot be read: {reason[0]}") from None


def _read_file(path: Path) -> Any:
    """One data file, held in memory: nothing is left in any cache."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        return datasets.load_dataset(
            _READERS[path.suffix],
            data_files=str(path),
            split="train",
            cache_dir=cache,
            keep_in_memory=True,
        )


def _example(
    source: str,
    folder: Path,
    table: Any,
    index: int,
    names: Mapping[str, str],
    optional: Mapping[str, str],
) -> Example:
    try:
        row = table[index]
        image = _image(row.get(optional["image"]), folder)
    except (OSError, ValueError, SyntaxError) as error:
        raise ObjectiveError(
            f"{source}: row {index}: the image does not decode: {error}"
        ) from None
    texts = {}
    for role, name in names.items():
        value = row[name]
        if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
            raise ObjectiveError(
                f"{source}: row {index}: {name} must be non-empty text, but is {value!r}."
            )
        texts[role] = str(value)
    category = str(row.get(optional["category"]) or "all")
    return Example(
        texts.pop("id"), texts.pop("question"), (image,) if image else (), texts, category
    )


def _image(value: Any, folder: Path) -> "Image | None":
    """An RGB picture from what `datasets` decoded, or from a path relative to the data."""
    from PIL import Image

    if value is None:
        return None
    if isinstance(value, str):
        with Image.open(folder / value) as picture:
            return picture.convert("RGB")
    decoded: Image.Image = value
    return decoded.convert("RGB")


def _check(source: str, examples: Sequence[Example]) -> None:
    if not examples:
        raise ObjectiveError(f"{source}: a split needs at least one example, but has none.")
    twice = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if twice:
        raise ObjectiveError(
            f"{source}: ids must be unique, but {twice[0]!r} stands "
            f"{sum(e.id == twice[0] for e in examples)} times ({len(twice)} such ids)."
        )
