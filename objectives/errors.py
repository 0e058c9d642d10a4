"""What is wrong with an objective's data or scores, for the user to mend."""

import difflib
from collections.abc import Iterable

_NEAR = 0.65
"""Share of letters that two names have in common, from which one may be a slip of the other."""


class ObjectiveError(Exception):
    """Data or scores that cannot be used; the message says which, and what to do."""


class RowError(ObjectiveError):
    """One row that cannot become an example; a study may leave such rows out and count them.

    Attributes:
        column: where the fault lies.
        fault: what is wrong, without the row and the value, so that faults of a kind are counted
            together.
    """

    def __init__(self, message: str, column: str, fault: str) -> None:
        super().__init__(message)
        self.column = column
        self.fault = fault


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the closest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=_NEAR)
    return f", did you mean {close[0]!r}?" if close else ""
