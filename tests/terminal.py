"""A terminal to draw on: a pty of a given size, and what stands on its screen."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

import pytest

_CODE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass(slots=True)
class Terminal:
    """What was written to a terminal.

    Attributes:
        written: all of it, control sequences too.
    """

    written: bytes = b""
    _threads: list[Thread] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.written.decode()

    def screen(self) -> list[str]:
        """Its lines after all that moved, erased and wrote; only what rich uses is known."""
        lines, row, column = [""], 0, 0
        for code in _CODE.finditer(self.text):
            number, kind, end, text = code.groups()
            if kind == "A":
                row -= int(number or 1)
            elif kind == "K":
                assert number == "2", code
                lines[row] = ""
            elif end == "\r":
                column = 0
            elif end == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif text:
                lines[row] = (
                    lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                )
                column += len(text)
            else:
                assert kind in "mhl", code
        return [line.rstrip() for line in lines]

    def cursor(self) -> bool:
        """Whether the cursor can be seen."""
        return self.text.rfind("\x1b[?25h") >= self.text.rfind("\x1b[?25l")


@contextmanager
def terminal(
    patch: pytest.MonkeyPatch, columns: int = 80, lines: int = 24, encoding: str = "utf-8"
) -> Iterator[Terminal]:
    """Let standard error be a terminal; what was written can be read once the block is left."""
    own, theirs = os.openpty()
    shown = Terminal()

    def read() -> None:
        while True:
            try:
                part = os.read(own, 65536)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            shown.written += part

    reader = Thread(target=read, daemon=True)
    reader.start()
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        patch.delenv(name, raising=False)
    size = {"COLUMNS": columns, "LINES": lines}  # rich asks the process's own streams else
    for name, value in {"TERM": "xterm-256color", **size}.items():
        patch.setenv(name, str(value))
    with open(theirs, "w", encoding=encoding, errors="backslashreplace", buffering=1) as stream:  # noqa: PTH123
        with patch.context() as inner:
            inner.setattr(sys, "stderr", stream)
            yield shown
        stream.flush()
    reader.join(10)
    os.close(own)
