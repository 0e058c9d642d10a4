"""Points in flight: proposed, not scored yet; and the order in which points were proposed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.dimension import Point

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SERIAL, AFTER = "serial", "after"
"""Attributes of a trial: which proposal of its search it was, and after how many finished trials
it was proposed. Together they say what was in flight: all earlier proposals but those trials."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A point that somebody is scoring.

    Attributes:
        serial: which proposal of its search it is, from 0.
        after: how many trials were finished when it was proposed.
        values: the point, by dimension.
        tags: what its proposer keeps with it.
    """

    serial: int
    after: int
    values: Point
    tags: Mapping[str, float]


def serial_of(trial: "FrozenTrial") -> int:
    """Which proposal a trial was; one at a time, it is the trial's own number."""
    return int(trial.user_attrs.get(SERIAL, trial.number))


def after_of(trial: "FrozenTrial") -> int:
    """After how many finished trials it was proposed; one at a time, after all before it."""
    return int(trial.user_attrs.get(AFTER, trial.number))


def unused(tag: str, trials: Sequence["FrozenTrial"], pending: Iterable[Pending]) -> int:
    """The first place of a sequence that no trial and no point in flight has."""
    used = {t.user_attrs[tag] for t in trials if tag in t.user_attrs}
    used |= {p.tags[tag] for p in pending if tag in p.tags}
    place = 0
    while place in used:
        place += 1
    return place


def in_flight_at(serial: int, after: int, trials: Sequence["FrozenTrial"]) -> list[Pending]:
    """What was in flight when a finished search made one of its proposals.

    Args:
        serial: of the proposal.
        after: how many trials were finished then.
        trials: all trials of the search, in the order of their results.
    """
    found = [
        Pending(serial_of(t), after_of(t), t.params, t.user_attrs)
        for t in trials[after:]
        if serial_of(t) < serial
    ]
    return sorted(found, key=lambda p: p.serial)
