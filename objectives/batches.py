"""Batches: prompts of a block sorted by length and cut by a budget of tokens, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from objectives.request import Prompt, Writing
from objectives.tails import Tail


@dataclass(frozen=True, slots=True)
class Written:
    """A text that is to be written behind a prompt.

    Attributes:
        writing: how.
        allowed: tokens of the allowed texts; empty if any text may be written.
    """

    writing: Writing
    allowed: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt and all that is asked about it.

    Attributes:
        prompt: what the model reads first.
        drop: how many of its tokens are taken off its end (see `tails`).
        ids: the tokens that stay, images included.
        responses: what is scored behind it, by text.
        texts: what is written behind it.
    """

    prompt: Prompt
    drop: int
    ids: tuple[int, ...]
    responses: tuple[tuple[str, Tail], ...]
    texts: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One response in a batch.

    Attributes:
        entry: the place of its prompt in the batch.
        response: the text.
        tail: its tokens.
    """

    entry: int
    response: str
    tail: Tail


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts that are read in one pass, and their responses in passes of their own.

    Attributes:
        entries: the prompts, the longest first.
        chunks: the responses of one pass each, the longest first.
    """

    entries: tuple[Entry, ...]
    chunks: tuple[tuple[Row, ...], ...]

    @property
    def width(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(entry.ids) for entry in self.entries)

    def largest(self) -> int:
        """Tokens of the largest pass, padding and prompts counted."""
        rows = [len(c) * (self.width + max(len(r.tail.tokens) for r in c)) for c in self.chunks]
        return max(len(self.entries) * self.width, *rows, 0)

    def record(self) -> dict[str, Any]:
        """Shapes, for the study's record: prompts and passes of responses as (rows, tokens)."""
        return {
            "prompts": [len(self.entries), self.width],
            "responses": [[len(c), max(len(r.tail.tokens) for r in c)] for c in self.chunks],
            "texts": sum(len(entry.texts) for entry in self.entries),
        }


def cut_batches(entries: Sequence[Entry], budget: int) -> tuple[Batch, ...]:
    """Cut entries into batches of at most `budget` tokens a pass, padding counted.

    Prompts with images and prompts without are kept apart, since processors take no mixture. In a
    pass of responses each row counts with its prompt, whose keys and values it holds.

    Args:
        entries: of one block.
        budget: tokens per pass; a single row may have more.
    """
    order = sorted(
        range(len(entries)), key=lambda i: (not entries[i].prompt.images, -len(entries[i].ids), i)
    )
    batches: list[Batch] = []
    group: list[Entry] = []
    for entry in (entries[i] for i in order):
        full = group and (len(group) + 1) * len(group[0].ids) > budget
        if full or (group and bool(group[0].prompt.images) != bool(entry.prompt.images)):
            batches.append(_batch(group, budget))
            group = []
        group.append(entry)
    return (*batches, _batch(group, budget)) if group else ()


def _batch(entries: Sequence[Entry], budget: int) -> Batch:
    width = max(len(entry.ids) for entry in entries)
    rows = [Row(i, *pair) for i, entry in enumerate(entries) for pair in entry.responses]
    rows.sort(key=lambda row: -len(row.tail.tokens))  # stable: the order is fixed
    chunks: list[tuple[Row, ...]] = []
    while rows:
        count = max(1, budget // (width + len(rows[0].tail.tokens)))
        chunks.append(tuple(rows[:count]))
        rows = rows[count:]
    return Batch(tuple(entries), tuple(chunks))
