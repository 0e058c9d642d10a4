"""Boundaries of a test that is looked at again and again: how unlikely is unlikely enough."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_GRID, _REACH = 801, 8.0


@lru_cache(maxsize=64)
def boundaries(shares: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """The lower tail probability below which each look stops, for an error of `alpha` in all.

    Under equality the estimates of a whole finite split from its first items are, divided by
    their variances, a Brownian motion in the information t / (1 - t), where t is the share of
    items seen (independent increments: the split is exchangeable). How much error is spent by a
    look follows Lan and DeMets' function of Pocock's type, alpha ln(1 + (e - 1) t), Biometrika 70
    (1983); the density of the paths that did not stop is carried from look to look as in
    Armitage, McPherson and Rowe, J. R. Statist. Soc. A 132 (1969).

    Args:
        shares: of all items, seen at the end of each look, ascending, all below 1.
        alpha: error of all looks together.
    """
    from scipy.special import ndtr

    if not shares:
        return ()
    seen = np.array(shares)
    information = seen / (1 - seen)
    spent = alpha * np.log1p((np.e - 1) * seen)
    found: list[float] = []
    paths, mass = np.zeros(1), np.ones(1)  # where the paths are that go on, and how likely
    before = error = 0.0
    for now, until in zip(information, spent, strict=True):
        steps = np.linspace(-_REACH, _REACH, _GRID) * np.sqrt(now)
        density = _normal(steps[:, None] - paths, now - before) @ mass
        probability = density * (steps[1] - steps[0])
        place = _crossing(steps, np.cumsum(probability), until - error)
        found.append(float(ndtr(place / np.sqrt(now))))
        goes_on = steps > place
        paths, mass = steps[goes_on], probability[goes_on]
        before, error = now, until
    return tuple(found)


def _normal(gaps: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(gaps**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def _crossing(steps: NDArray[np.float64], below: NDArray[np.float64], error: float) -> float:
    """Where the probability of lying below reaches `error`."""
    half = (steps[1] - steps[0]) / 2  # a step's mass reaches to half way to the next
    return float(np.interp(error, below, steps + half, left=float(steps[0])))
