"""Examples from a source: its rows, sampled, read by a rule, and what was left out."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from objectives.data import Example
from objectives.errors import ObjectiveError, RowError, nearest
from objectives.rows import Row
from objectives.rules import Roles, RowRule, plain_rule
from objectives.tables import RawRow, Table, joined, open_table

OnBad = Literal["error", "skip"]
Sample = Literal["head", "reservoir"]


@dataclass(frozen=True, slots=True)
class Taking:
    """Which rows are read, and how.

    Attributes:
        columns: the rule's column names to the data's, where they differ.
        limit: at most so many rows, or all.
        sample: "head" reads the first `limit` rows and no further; "reservoir" reads all, keeps
            `limit` of them, each with the same chance, and holds no others.
        seed: of the reservoir.
        stream: read a data set of the hub without downloading it.
        on_bad: what a row that cannot be used does: stop everything, or be left out and counted.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    sample: Sample = "head"
    seed: int = 0
    stream: bool = False
    on_bad: OnBad = "error"


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a source.

    Attributes:
        source: as it was asked for.
        examples: in the order of the data.
        rows: how many were read.
        skipped: how many were left out, by fault.
        first: the message of the first that was left out of each fault.
    """

    source: str
    examples: tuple[Example, ...]
    rows: int
    skipped: Mapping[str, int]
    first: Mapping[str, str]

    def notes(self) -> list[str]:
        """A line for each fault that rows were left out for."""
        return [
            f"{self.source}: left out {count} of {self.rows} rows: {fault} "
            f"(the first: {self.first[fault].removeprefix(f'{self.source}: ')})"
            for fault, count in self.skipped.items()
        ]


def read_source(source: str, rule: RowRule, taking: Taking | None = None) -> Reading:
    """Read the examples of a source, in the order of the data.

    Raises:
        ObjectiveError: the data cannot be read, a column is missing, there are no examples; and
            with `on_bad="error"` the first row that cannot be used, or whose id stood before.
    """
    taking = taking or Taking()
    table = open_table(source, stream=taking.stream)
    if rule.join is not None and rule.join.column not in table.columns:
        table = joined(table, rule.join, stream=taking.stream)
    _check_columns(table, rule, taking.columns)
    examples: dict[str, Example] = {}
    faults: list[RowError] = []
    rows = 0
    for row in _taken(table, taking):
        rows += 1
        try:
            for example in rule.examples(row):
                if example.id in examples:
                    raise _twice(row, example.id)
                examples[example.id] = example
        except RowError as error:
            if taking.on_bad == "error":
                raise
            faults.append(error)
    counts = Counter(error.fault for error in faults)
    first = {error.fault: str(error) for error in reversed(faults)}
    reading = Reading(source, tuple(examples.values()), rows, counts, first)
    if not examples:
        left_out = "".join(f"\n{note}" for note in reading.notes())
        raise ObjectiveError(
            f"{source}: a split needs at least one example, but none came of {rows} rows."
            f"{left_out}"
        )
    return reading


def read_examples(
    source: str, roles: Sequence[str], columns: Mapping[str, str], limit: int | None = None
) -> tuple[Example, ...]:
    """The examples of data whose columns are named after the roles, each a single text.

    Raises:
        ObjectiveError: as `read_source`.
    """
    rule = plain_rule(Roles(texts=tuple(roles)))
    return read_source(source, rule, Taking(columns=columns, limit=limit)).examples


def _check_columns(table: Table, rule: RowRule, columns: Mapping[str, str]) -> None:
    strangers = [name for name in columns if name not in rule.columns()]
    if strangers:
        raise ObjectiveError(
            f"{table.source}: columns: {strangers[0]!r} is no column that is read here"
            f"{nearest(strangers[0], rule.columns())}; those are {list(rule.columns())}."
        )
    asked = [columns.get(name, name) for name in rule.required]
    asked += [theirs for ours, theirs in columns.items() if ours in rule.optional]
    missing = [name for name in asked if name not in table.columns]
    if missing and table.columns:
        raise ObjectiveError(
            f"{table.source}: the columns {sorted(asked)} are needed, but {missing} are missing; "
            f"found {sorted(table.columns)}. Map them with `columns: {{ours: theirs}}`."
        )


def _taken(table: Table, taking: Taking) -> Iterator[Row]:
    """The rows that are read, in the order of the data."""
    numbered: Iterable[tuple[int, RawRow]] = enumerate(table.rows)
    if taking.limit is not None:
        if taking.sample == "head":
            numbered = islice(numbered, taking.limit)
        else:
            numbered = _reservoir(numbered, taking.limit, taking.seed)
    for index, values in numbered:
        yield Row(table.source, index, table.label, table.folder, values, taking.columns)


def _reservoir(
    numbered: Iterable[tuple[int, RawRow]], size: int, seed: int
) -> list[tuple[int, RawRow]]:
    """The `size` rows whose number has the smallest digest: each row has the same chance."""
    heap: list[tuple[int, int, RawRow]] = []
    for index, values in numbered:
        digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
        entry = (-int.from_bytes(digest[:8], "big"), index, values)
        if len(heap) < size:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    return sorted(((index, values) for _, index, values in heap), key=lambda pair: pair[0])


def _twice(row: Row, name: str) -> RowError:
    text = f"{row.source}: row {row.index}: ids must be unique, but {name!r} stood before."
    return RowError(text, "id", "ids must be unique")
