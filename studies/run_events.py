"""Running a study for a command: it speaks as asked, and events tell how it ended."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merge_ops.errors import UserError
from objectives.errors import ObjectiveError
from studies.interruption import Stopped
from studies.path_errors import persons_mistake
from studies.paths import RECIPE
from studies.voice import Voice, event, speaking


def voice_of(*, quiet: bool, json_log: bool) -> Voice:
    """What the two options of a command ask for.

    Raises:
        UserError: both.
    """
    if quiet and json_log:
        raise UserError("--quiet says nothing and --json-log says all: choose one of them.")
    return "json" if json_log else "quiet" if quiet else "lines"


@contextmanager
def told(voice: Voice) -> Iterator[None]:
    """Speak this way, and tell an end that is no result as an event too.

    A study that was stopped leaves with its exit code and no further word, but for a person.
    """
    with speaking(voice):
        try:
            yield
        except Stopped as stopped:
            event("stopped", {"exit_code": stopped.code})
            if voice == "lines":
                raise
            raise SystemExit(stopped.code) from None
        except Exception as error:
            event("error", {"text": _text(error)})
            raise


def _text(error: Exception) -> str:
    """What the command line says of an error, without a traceback."""
    if isinstance(error, UserError | ObjectiveError):
        return str(error)
    mistake = persons_mistake(error, sys.argv[2:]) if isinstance(error, OSError) else None
    return mistake or f"{type(error).__name__}: {error}"


def tell_end(results: Mapping[str, Any], out: Path) -> None:
    """The event of a study's results."""
    found = results["rows"][-1]
    event(
        "end",
        {
            "study": results["study"],
            "ended": results.get("ended", {}),
            "trials": results["trials"],
            "failed_trials": results["failed_trials"],
            "winner": results["winner"],
            "test": found["score"],
            "recipe": str(out / RECIPE),
        },
    )
