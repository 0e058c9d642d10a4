"""What the command line prints: results on standard output, everything else on standard error."""

import json
import sys
from functools import cache
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from studies.voice import note

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> "Console":
    """The console for tables and progress; plain and wide where there is no terminal."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=True, emoji=False
    )


def say(*content: Any) -> None:
    """Print text or a rich table."""
    console().print(*content)


def say_json(content: Any) -> None:
    """Print plain data for a script."""
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


def warn(text: str) -> None:
    """Print a note for the person at the keyboard that is no result; see `studies.voice`."""
    note(text)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:05:09."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def quiet_transformers() -> None:
    """Keep the library's own warnings off the terminal, where a command has better ones."""
    from transformers.utils import logging

    quiet: Any = logging.set_verbosity_error
    quiet()


def command_name() -> str:
    """How the person at the keyboard calls this program: by its path where it is not on PATH."""
    called = Path(sys.argv[0])
    if which("mergetuna") or called.name != "mergetuna":
        return "mergetuna"
    near = called.is_absolute() and called.is_relative_to(Path.cwd())
    return str(called.relative_to(Path.cwd()) if near else called)
