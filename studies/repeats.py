"""Points whose recipe the search knows already: what of them is scored again, and what copied."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.feasibility import in_full, value_of
from studies.trial_facts import is_copy

_ATTEMPTS = 2  # at a point that fails: the machine may have been at fault
_IN_A_ROW = 50  # copies after which a search has nothing new to try


def original(trials: Sequence[FrozenTrial], digest: str) -> FrozenTrial | None:
    """The trial whose outcome a candidate takes; None if it is to be scored.

    A candidate that racing stopped is not scored again either: those that it lost to can only have
    become better since, so what it was worth still is less than they are. A failure stands once it
    has come twice.

    Args:
        trials: the search's finished trials.
        digest: of the candidate's recipe.
    """
    known = [t for t in trials if t.user_attrs["digest"] == digest and not is_copy(t)]
    scored = [t for t in known if value_of(t) is not None]
    if scored:
        return max(scored, key=in_full)
    return known[-1] if len(known) >= _ATTEMPTS else None


def nothing_new(trials: Sequence[FrozenTrial]) -> str | None:
    """Why a search ends whose sampler proposes known points alone, or None."""
    last = trials[max(0, len(trials) - _IN_A_ROW) :]
    if len(last) < _IN_A_ROW or not all(map(is_copy, last)):
        return None
    return f"repeats: the last {_IN_A_ROW} points were all known"
