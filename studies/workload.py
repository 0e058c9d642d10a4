"""What a study will do and what was timed of it: the two things that an estimate is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from objectives.objective import Objective
from objectives.records import Split


@dataclass(frozen=True, slots=True)
class Part:
    """What one pass over some objectives costs.

    Attributes:
        objectives: scored together.
        first: seconds an example takes when its prompt is read for the first time.
        again: seconds for every later candidate, if the captured prompt was kept.
    """

    objectives: tuple[Objective, ...]
    first: float
    again: float


Cost = tuple[Part, ...]
"""All passes that score one candidate."""


@dataclass(frozen=True, slots=True)
class Timings:
    """What was timed.

    Attributes:
        build: seconds to write a candidate into the live model.
        warm_up: seconds that only the very first candidate takes.
        costs: of scoring, by the ids of the objectives that a row is scored on.
        candidates: how many were timed.
        examples: on so many examples of the selection split.
        bytes_per_example: that its captured prompt takes.
    """

    build: float
    warm_up: float
    costs: Mapping[tuple[int, ...], Cost]
    candidates: int
    examples: int
    bytes_per_example: float


@dataclass(frozen=True, slots=True)
class SearchWork:
    """One search that is to run.

    Attributes:
        name: in words.
        trials: that are still to be scored; None for as many as the time allows.
        finished: that earlier runs have scored.
        first_points: trials that no sampler proposes.
        dimensions: how many coordinates it varies.
        sampler: its name.
    """

    name: str
    trials: int | None
    finished: int
    first_points: int
    dimensions: int
    sampler: str


@dataclass(frozen=True, slots=True)
class Work:
    """All that a study is going to do.

    Attributes:
        main: what the searches are scored on.
        searches: in order.
        confirm: candidates that are scored on the confirm split.
        rows: for each row of the table, what it is scored on.
        cache: bytes that captured prompts may take.
        report: whether the report is written at the end.
        timeout: seconds that the searches may take together, or None.
        notes: what is not known before it runs, in words.
    """

    main: tuple[Objective, ...]
    searches: Sequence[SearchWork]
    confirm: int
    rows: Sequence[tuple[Objective, ...]]
    cache: int
    report: bool = False
    timeout: float | None = None
    notes: Sequence[str] = ()


def key_of(objectives: Sequence[Objective]) -> tuple[int, ...]:
    """By what the cost of some objectives is found."""
    return tuple(map(id, objectives))


def count(objectives: Sequence[Objective], split: Split) -> int:
    """Examples of a split, over all objectives."""
    return sum(len(objective.examples(split)) for objective in objectives)
