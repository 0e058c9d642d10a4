"""Rows of a data set, one at a time: a file, a folder, or a data set of the hub."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from objectives.errors import ObjectiveError

READERS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".arrow": "arrow",
}
_SPLIT = "test"  # of a data set on the hub whose source names none

RawRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """An open data set; pictures come as they are stored.

    Attributes:
        source: as it was asked for.
        label: the split, or the file's name without its ending.
        folder: paths inside the data are relative to it.
        columns: their names.
        rows: in the order of the data; can be walked once.
    """

    source: str
    label: str
    folder: Path
    columns: tuple[str, ...]
    rows: Iterator[RawRow]


@dataclass(frozen=True, slots=True)
class Join:
    """Another config of the same data set that holds a column.

    Attributes:
        config: its name.
        key: its column that is matched.
        by: the column of the rows that it is matched with.
        column: what is taken.
    """

    config: str
    key: str
    by: str
    column: str


def open_table(source: str, *, stream: bool = False) -> Table:
    """Open a source; a local one is read as its rows are asked for.

    Args:
        source: a file (.parquet, .jsonl, .json, .csv, .arrow); a folder, `PATH` or `PATH:SPLIT`,
            of such files, of images, or written by `save_to_disk`; or a data set of the hub,
            `OWNER/NAME:SPLIT` or `OWNER/NAME:CONFIG:SPLIT`, with `@REVISION` behind the name.
        stream: read a data set of the hub without downloading it first.

    Raises:
        ObjectiveError: it cannot be read; also while its rows are walked.
    """
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is said below
    path, config, split = _parts(source)
    try:
        if path.is_dir():
            found, label = _folder(path, config, split)
            folder = path
        elif path.exists() or path.suffix in READERS:
            found, label, folder = _file(path), path.stem, path.parent
        else:
            found, label, folder = _hub(str(path), config, split, stream), split or _SPLIT, Path()
        columns, rows = _rows(found)
    except ObjectiveError:
        raise
    except StopIteration:  # what `datasets` says of an empty file
        raise ObjectiveError(
            f"{source}: a split needs at least one example, but has none."
        ) from None
    except Exception as error:
        raise _unreadable(source, error) from None
    return Table(source, label, folder, columns, _guarded(source, rows))


def joined(table: Table, join: Join, *, stream: bool) -> Table:
    """The rows with a column of another config; a row that has no match gets None.

    Raises:
        ObjectiveError: the other config cannot be read.
    """
    path, _, split = _parts(table.source)
    other = open_table(f"{path}:{join.config}:{split or _SPLIT}", stream=stream)
    found = {row[join.key]: row[join.column] for row in other.rows}
    rows = ({**row, join.column: found.get(row.get(join.by))} for row in table.rows)
    return replace(table, columns=(*table.columns, join.column), rows=rows)


def _parts(source: str) -> tuple[Path, str | None, str | None]:
    """Place, config and split of a source."""
    if Path(source).exists():
        return Path(source), None, None
    place, *rest = source.split(":")
    if len(rest) > 2:
        raise ObjectiveError(f"{source}: a source reads PLACE:SPLIT or PLACE:CONFIG:SPLIT.")
    return Path(place), (rest[0] if len(rest) == 2 else None), (rest[-1] if rest else None)


def _file(path: Path) -> Any:
    import datasets

    if not path.exists():
        raise ObjectiveError(f"{path}: the data cannot be read: there is no such file.")
    if path.suffix not in READERS:
        known = ", ".join(READERS)
        raise ObjectiveError(f"{path}: the data cannot be read: its name must end in {known}.")
    reader = READERS[path.suffix]
    return datasets.load_dataset(reader, data_files=str(path), split="train", streaming=True)


def _folder(path: Path, config: str | None, split: str | None) -> tuple[Any, str]:
    """A folder's data set and its split; without a name, the only one."""
    import datasets

    if (path / "state.json").exists():
        return datasets.load_from_disk(str(path)), split or path.name
    if (path / "dataset_dict.json").exists():
        splits = datasets.load_from_disk(str(path))
    else:
        splits = datasets.load_dataset(str(path), config, streaming=True)
    names = list(splits)
    if split is None and len(names) == 1:
        split = names[0]
    if split is None or split not in names:
        raise ObjectiveError(
            f"{path}: it holds the splits {names}; name one of them, as in {path}:{names[0]}."
        )
    return splits[split], split


def _hub(name: str, config: str | None, split: str | None, stream: bool) -> Any:
    import datasets

    name, _, revision = name.partition("@")
    return datasets.load_dataset(
        name, config, split=split or _SPLIT, revision=revision or None, streaming=stream
    )


def _rows(found: Any) -> tuple[tuple[str, ...], Iterator[RawRow]]:
    """Column names and rows; where the format does not name its columns, the first row does."""
    if found.features is not None:
        found = found.cast(_undecoded(found.features))
        return tuple(found.features), iter(found)
    rows = iter(found)
    first = next(rows, None)
    if first is None:
        return (), iter(())
    return tuple(first), chain([first], rows)


def _undecoded(features: Any) -> Any:
    """The same features, pictures as they are stored."""
    import datasets

    def plain(feature: Any) -> Any:
        if isinstance(feature, datasets.Image):
            return datasets.Image(decode=False)
        if isinstance(feature, datasets.List):
            return datasets.List(plain(feature.feature), length=feature.length)
        if isinstance(feature, dict):
            return {name: plain(inner) for name, inner in feature.items()}
        return feature

    return datasets.Features({name: plain(feature) for name, feature in features.items()})


def _guarded(source: str, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The rows; whatever goes wrong on the way is said with the row."""
    index = 0
    while True:
        try:
            row = next(rows, None)
        except Exception as error:
            raise _unreadable(source, error, f" behind row {index - 1}" if index else "") from None
        if row is None:
            return
        yield row
        index += 1


def _unreadable(source: str, error: Exception, where: str = "") -> ObjectiveError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = " ... ".join(dict.fromkeys([lines[0], lines[-1]]))  # between them stand schemas
    return ObjectiveError(f"{source}: the data cannot be read{where}: {reason[:200]}")
