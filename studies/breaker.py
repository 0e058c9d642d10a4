"""When a search gives up: all that it tries fails, so that the study itself is at fault."""

import re
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.feasibility import value_of

_AT_FIRST = 3  # failures and nothing else yet
_IN_A_ROW = 10  # failures of one kind


def hopeless(trials: Sequence[FrozenTrial], begun: int) -> str | None:
    """Why no further trial is worth its time, or None.

    Args:
        trials: all finished ones.
        begun: how many of them earlier runs made; what failed then may be mended by now.
    """
    failed: list[str] = []
    for trial in reversed(trials[begun:]):
        if value_of(trial) is not None:
            break
        failed.append(trial.user_attrs["reason"])
    if len(failed) >= _AT_FIRST and len(failed) == len(trials):
        return f"the first {len(failed)} trials failed: {failed[-1]}"
    last = failed[:_IN_A_ROW]
    if len(last) == _IN_A_ROW and len({_kind(reason) for reason in last}) == 1:
        return f"the last {_IN_A_ROW} trials failed in the same way: {last[0]}"
    return None


def _kind(reason: str) -> str:
    """A reason without its numbers, in which failures of one kind differ."""
    return re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", reason)
