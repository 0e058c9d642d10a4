"""Which sampler fits a search, and how long it takes to suggest a point."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.dimension import Choice, Coordinate

GP_DIMENSIONS, GP_TRIALS = 40, 300
"""Beyond these a Gaussian process is useless, or takes more than a second for a suggestion."""
_GP_WORKERS = 8
"""Beyond so many, one that takes a quarter of a second for a suggestion lets workers wait."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A sampler for a search.

    Attributes:
        sampler: its name.
        reason: why, in words.
        seconds: that it takes to suggest a point near the end of the budget, roughly.
    """

    sampler: str
    reason: str
    seconds: float


def advise(
    dimensions: Sequence[Coordinate], budget: int | None, objectives: int = 1, workers: int = 1
) -> Advice:
    """The sampler that `auto` stands for.

    Args:
        dimensions: what is searched.
        budget: trials; None for as many as the time allows.
        objectives: 2 or more for a front.
        workers: how many wait for suggestions.
    """
    count, trials = len(dimensions), budget or 1000
    unordered = any(isinstance(d, Choice) and d.ranked() is None for d in dimensions)
    if objectives > 1:
        name = "nsga2" if trials >= 20 * max(count, 10) else "tpe"
        why = f"a front of {objectives} objectives, {count} dimensions and {trials} trials"
    elif unordered:
        name, why = "tpe", "lists of values without an order"
    elif count <= GP_DIMENSIONS and trials <= GP_TRIALS and workers <= _GP_WORKERS:
        name, why = "gp", f"{count} dimensions and {trials} trials: few enough for a surrogate"
    else:
        name, why = "cma", f"{count} dimensions and {trials} trials"
        why += f", {workers} workers that wait for suggestions" if workers > _GP_WORKERS else ""
    return Advice(name, why, suggestion_seconds(name, count, trials))


def suggestion_seconds(sampler: str, dimensions: int, trials: int) -> float:
    """Seconds of one suggestion after so many trials, on one slow core; a rough figure.

    Measured for Optuna 5.0, with greenlet, and pycma 4.5: TPE grows with the product of both (12
    to 300 dimensions, 100 to 10,000 trials: measured were 0.6 to 1.3 of it), a Gaussian process
    with the square of the trials and the more so the more dimensions (up to 256 and 1,000), the
    others stay below 10 ms.
    """
    if sampler == "tpe":
        return dimensions * (0.0004 + 4e-6 * trials)
    if sampler == "gp":
        return 0.1 + 0.005 * dimensions + (2e-6 + 1.7e-7 * dimensions) * trials**2
    return 0.002 if sampler == "cma" else 0.005
