"""One row of a data set, whose values are checked as they are taken."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from objectives.errors import RowError
from objectives.images import Picture, Pictures, read_picture

LONGEST = 65_536
"""Characters that one text may have: about 16,000 tokens, far more than a question is."""

_SHOWN, _REASON = 60, 200  # characters of a wrong value, and of a decoder's words, in a message
_MARKER = re.compile(r"[ \t]*<\s*image\s*_?(\d*)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        source: the data set, for messages.
        index: from 0.
        label: what the rows of this file or split are called: "test", "questions".
        folder: paths of images are relative to it.
        values: by the data's own column names.
        columns: our column names to the data's, where they differ.
    """

    source: str
    index: int
    label: str
    folder: Path
    values: Mapping[str, Any] = field(repr=False)
    columns: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """What stands in a column, or None."""
        return self.values.get(self.columns.get(name, name))

    def bad(self, name: str, must: str, value: Any) -> RowError:
        """An error that names source, row, column and value: `name` `must`, but is `value`."""
        column = self.columns.get(name, name)
        text = repr(value)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
        message = f"{self.source}: row {self.index}: {column} {must}, but is {shown}."
        return RowError(message, column, f"{column} {must}")

    def numbered(self) -> str:
        """An id for data without one."""
        return f"{self.label}-{self.index}"

    def text(self, name: str) -> str:
        """A text that is not empty; numbers are written out."""
        return self._checked(name, self.value(name))

    def optional(self, name: str) -> str | None:
        """A text, or None where the column is missing or empty."""
        value = self.value(name)
        return None if value is None or value == "" else self._checked(name, value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, at least one."""
        value = self.value(name)
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
            raise self.bad(name, "must be a list of texts", value)
        return tuple(self._checked(name, entry) for entry in value)

    def literal_texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, which may be written out as one: "['2 cm', '3 cm']"."""
        value = self.value(name)
        if not isinstance(value, str):
            return self.texts(name)
        must = "must be a list of texts, or one written out"
        if len(value) > LONGEST:
            raise self.bad(name, must, value)
        try:
            entries = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise self.bad(name, must, value) from None
        if not isinstance(entries, (list, tuple)) or not entries:
            raise self.bad(name, must, value)
        return tuple(self._checked(name, entry) for entry in entries)

    def numbers(self, name: str, count: int | None = None) -> tuple[float, ...]:
        """A list of finite numbers, `count` of them where it is given."""
        value = self.value(name)
        must = f"must be {'' if count is None else f'{count} '}finite numbers".replace("  ", " ")
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
            raise self.bad(name, must, value)
        if (count is not None and len(value) != count) or not all(map(_finite, value)):
            raise self.bad(name, must, value)
        return tuple(float(entry) for entry in value)

    def number(self, name: str) -> float:
        """One finite number."""
        value = self.value(name)
        if not _finite(value):
            raise self.bad(name, "must be a finite number", value)
        return float(value)

    def images(self, *names: str) -> Sequence[Any]:
        """The pictures of these columns, in order; empty columns are passed over.

        A column may hold one picture or a list of them: bytes, a path, or what `datasets` stores.
        """
        pictures = [
            self._picture(name, stored)
            for name in names
            for stored in _listed(self.value(name))
            if stored is not None
        ]
        return Pictures(pictures) if pictures else ()

    def picture_file(self, path: Path) -> Pictures:
        """A picture that no column names."""
        return Pictures([self._picture("image", path)])

    def question(self, name: str, shown: Sequence[Any] = ()) -> str:
        """A text whose markers of images, `<image>` and `<image 2>`, are words of no template.

        Args:
            name: the column.
            shown: the row's pictures; a marker must name one of them.
        """
        return self.plain(name, self.text(name), shown)

    def plain(self, name: str, text: str, shown: Sequence[Any]) -> str:
        """The text without markers: `<image 2>` reads "(image 2)", and `<image>` goes."""

        def word(found: re.Match[str]) -> str:
            number = found[1]
            if number and int(number) > max(len(shown), 1):
                raise self.bad(name, f"must name one of the row's {len(shown)} images", text)
            return f"{' ' if found.start() else ''}(image {number})" if number else ""

        return _MARKER.sub(word, text).strip() or text

    def letter(self, name: str, options: Sequence[str]) -> str:
        """The letter of the right option; the column may hold it, the option or its place."""
        value = self.value(name)
        letters = [chr(ord("A") + i) for i in range(len(options))]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
            return letters[value]
        text = str(value).strip()
        if text.strip("().").upper() in letters:
            return text.strip("().").upper()
        if text in options:
            return letters[options.index(text)]
        must = f"must be one of the {len(options)} options or their letters"
        raise self.bad(name, must, value)

    def _checked(self, name: str, value: Any) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(name, "must be non-empty text", value)
        if len(value) > LONGEST:
            raise self.bad(name, f"must be at most {LONGEST:,} characters", value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.bad(name, "must be valid Unicode", value) from None
        return value

    def _picture(self, name: str, stored: Any) -> Picture:
        inner: Any = stored
        if isinstance(stored, dict):
            inner = stored.get("bytes") or stored.get("path")
        if isinstance(inner, str):
            inner = self.folder / inner
        column = self.columns.get(name, name)
        try:
            return read_picture(inner)
        except Exception as error:  # decoders of damaged files raise what they like
            reason = " ".join(str(error).split())[:_REASON] or type(error).__name__
            message = (
                f"{self.source}: row {self.index}: {column}: the image does not decode: {reason}"
            )
            raise RowError(message, column, f"{column}: the image does not decode") from None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _finite(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return number and math.isfinite(value)
    except OverflowError:
        return False
