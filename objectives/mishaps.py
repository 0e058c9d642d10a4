"""Counts of what went wrong with examples, so that nothing is scored in silence."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields

from objectives.errors import ObjectiveError
from objectives.records import ExampleScore


@dataclass(frozen=True, slots=True)
class Mishaps:
    """How many examples had which mishap; the names are the flags of an `ExampleScore`.

    Attributes:
        truncated: the prompt did not fit, or the response was cut at its longest.
        undecodable: an image does not decode, or the model's processor fails at the prompt.
        unparsed: no answer was found in the response.
        empty: the response was empty.
    """

    truncated: int = 0
    undecodable: int = 0
    unparsed: int = 0
    empty: int = 0

    def __add__(self, other: "Mishaps") -> "Mishaps":
        return Mishaps(
            self.truncated + other.truncated,
            self.undecodable + other.undecodable,
            self.unparsed + other.unparsed,
            self.empty + other.empty,
        )

    def text(self, examples: int) -> str:
        """A line for reports, such as "of 400: 3 unparsed, 1 truncated"; "" if there are none."""
        counts = sorted(((getattr(self, f.name), f.name) for f in fields(self)), reverse=True)
        told = ", ".join(f"{count} {name}" for count, name in counts if count)
        return f"of {examples}: {told}" if told else ""


def count_mishaps(scores: Iterable[ExampleScore]) -> Mishaps:
    """Count the flags of scored examples; a flag that stands twice on one example counts once.

    Raises:
        ObjectiveError: a flag is none of the mishaps.
    """
    counts = Counter(flag for score in scores for flag in set(score.flags))
    known = [f.name for f in fields(Mishaps)]
    unknown = sorted(counts.keys() - set(known))
    if unknown:
        raise ObjectiveError(f"flags must be of {', '.join(known)}, but one is {unknown[0]!r}.")
    return Mishaps(**counts)
