"""The stages of a search from coarse to fine, as its trials carry them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STAGE, EDGES, CUT = "refine_stage", "refine_edges", "refine_cut"
REFUSED, GAIN = "refine_refused", "refine_gain"
"""Tags of a trial: its stage; the bands at which runs begin, as bits; the cut on trial (0: none);
cuts that confirm did not agree with, as bits; what the cut before won on confirm."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a search.

    Attributes:
        number: from 0.
        edges: first band of each run of tied bands.
        cut: the edge on trial; 0 in the first and in the last stage.
        refused: edges that the confirm split did not agree with.
        gain: of the edge on trial in the stage before, on confirm; None if it was not compared.
    """

    number: int
    edges: tuple[int, ...]
    cut: int = 0
    refused: tuple[int, ...] = ()
    gain: float | None = None

    def tags(self) -> dict[str, float]:
        """What its trials carry, from which `stage_of` reads it again."""
        own: dict[str, float] = {STAGE: self.number, EDGES: _bits(self.edges), CUT: self.cut}
        own[REFUSED] = _bits(self.refused)
        return own if self.gain is None else {**own, GAIN: self.gain}

    def without_cut(self) -> "Stage":
        """The stage as if the edge on trial had not been made."""
        return replace(self, edges=tuple(e for e in self.edges if e != self.cut), cut=0)


def stage_of(trial: "FrozenTrial") -> Stage | None:
    """The stage that proposed a trial; None for a first point."""
    return stage_in(trial.user_attrs)


def stage_in(tags: Mapping[str, Any]) -> Stage | None:
    """The same, from the tags of a trial or of a point in flight."""
    if STAGE not in tags:
        return None
    edges, refused = _places(tags[EDGES]), _places(tags[REFUSED])
    return Stage(tags[STAGE], edges, tags[CUT], refused, tags.get(GAIN))


def stages(trials: Sequence["FrozenTrial"]) -> list[tuple[Stage, int]]:
    """The stages of a search in order, each with how many trials it proposed."""
    counts: dict[int, int] = {}
    found: dict[int, Stage] = {}
    for trial in trials:
        if (stage := stage_of(trial)) is not None:
            found.setdefault(stage.number, stage)
            counts[stage.number] = counts.get(stage.number, 0) + 1
    return [(stage, counts[number]) for number, stage in found.items()]


def _bits(places: Sequence[int]) -> int:
    return sum(1 << place for place in places)


def _places(bits: int) -> tuple[int, ...]:
    return tuple(i for i in range(bits.bit_length()) if bits >> i & 1)
