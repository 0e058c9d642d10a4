"""What a metric says of one written answer."""

from dataclasses import dataclass

from objectives.errors import ObjectiveError


@dataclass(frozen=True, slots=True)
class Verdict:
    """A metric's value for one response.

    Attributes:
        value: in [0, 1], higher is better.
        parsed: whether an answer was found in the response at all; where none was, the value is 0
            and the example is counted as unparsed.

    Raises:
        ObjectiveError: the value is not a number in [0, 1].
    """

    value: float
    parsed: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # NaN fails it too
            raise ObjectiveError(f"a metric's value must lie in [0, 1], but is {self.value}.")


UNPARSED = Verdict(0.0, parsed=False)
"""No answer was found: a miss, and counted as such."""
