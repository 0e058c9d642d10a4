"""A user's own mistake: what is wrong, where, and what to do; never a traceback."""

import difflib
from collections.abc import Iterable

_NEAR = 0.62
"""Share of letters that two names have in common, from which one may be a slip of the other."""


class UserError(Exception):
    """A mistake that the user can mend; the command line prints it and exits with 2.

    The message states the invariant, then the values, then what to do. For a mistake in a file
    each line of the message reads `file:line:column: what is wrong`.
    """


class TooLittleMemoryError(UserError):
    """A model does not fit into the memory that may be used."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=_NEAR)
    return f", did you mean {close[0]!r}?" if close else ""


def first_line(error: BaseException) -> str:
    """What an error says, in one line: its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
