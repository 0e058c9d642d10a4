"""What a number of examples can tell, before anything is scored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from objectives.records import Average

_TWO_SIDED = 1.959963984540054  # 5 % level
_POWER = 0.8416212335729143  # found four times in five


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of scores on a split; all in shares, not in points.

    Attributes:
        examples: how many there are.
        standard_error: of one score.
        detectable: the smallest true difference to the parent that the paired interval excludes
            zero for in four studies of five.
        overstatement: how much better than it is the best of the candidates looks on average, if
            all are equally good and err independently; the same examples for all make it less.
        candidates: how many.
    """

    examples: int
    standard_error: float
    detectable: float
    overstatement: float
    candidates: int

    def text(self) -> str:
        """A line to print before a study."""
        error, least, over = (
            f"{100 * x:.1f}" for x in (self.standard_error, self.detectable, self.overstatement)
        )
        told = (
            f"{self.examples} examples: standard error {error} points, smallest difference "
            f"detectable {least}"
        )
        if self.candidates > 1:
            told += (
                f"; the best of {self.candidates} equal candidates looks up to {over} points "
                "better than it is"
            )
        return told


def outlook(
    categories: Mapping[str, int],
    average: Average,
    candidates: int,
    *,
    share: float = 0.5,
    differing: float = 0.2,
) -> Outlook:
    """What a split of these categories can tell.

    Standard error of a stratified mean (Cochran, Sampling techniques, chapter 5); power of the
    paired comparison from the variance of McNemar's differences (Miettinen, Biometrics 24, 1968).

    Args:
        categories: examples in each; none of them 0.
        average: how they become one figure.
        candidates: that the search will try.
        share: of examples that a candidate gets right; one half is the worst case.
        differing: share of examples on which a candidate and the parent differ, which is not
            known beforehand: a fifth is usual between merges of the same models.
    """
    sizes = np.array(list(categories.values()), dtype=float)  # (C,)
    weights = sizes / sizes.sum() if average == "micro" else np.full(len(sizes), 1 / len(sizes))
    unit = float(np.sqrt((weights**2 / sizes).sum()))  # 1 / sqrt(n) in the micro average
    error = unit * (share * (1 - share)) ** 0.5
    return Outlook(
        examples=int(sizes.sum()),
        standard_error=error,
        detectable=(_TWO_SIDED + _POWER) * unit * differing**0.5,
        overstatement=error * expected_best(candidates),
        candidates=candidates,
    )


def expected_best(candidates: int) -> float:
    """Expected largest of so many independent standard normal numbers."""
    from scipy.special import ndtr

    grid = np.linspace(-9.0, 9.0, 7201)  # E max = integral of x d(Phi^K)
    middle = (grid[1:] + grid[:-1]) / 2
    return float((middle * np.diff(ndtr(grid) ** candidates)).sum())
