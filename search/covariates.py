"""What finished trials say of the items: numbers that explain part of a new candidate's scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.float64]
"""One number per item."""

BEST = 50
"""How many finished trials are asked."""
_DIRECTIONS, _FEWEST = 5, 8
_RIDGE = 20.0
"""Penalty of a regression, in items: as if so many more had been seen without any effect."""


def covariates(finished: NDArray[np.float64], rival: Items, weights: Items) -> NDArray[np.float64]:
    """Numbers of each item, scaled to unit spread, whose weighted mean over the split is 0.

    The rival's score, the mean of the best finished trials, and the leading directions in which
    those differ. They are known before a candidate is scored, so taking from its scores what
    they explain leaves an estimate of its mean unbiased but for the regression's own error, and
    makes it surer (Cochran, Sampling techniques, 1977, chapter 7).

    Args:
        finished: scores of trials, best first, (trials, items).
        rival: scores of the one that is raced, (items,).
        weights: what an item counts in the score, (items,), summing to 1.

    Returns:
        (items, numbers); no numbers where too few trials are finished.
    """
    best = finished[:BEST]
    if len(best) < _FEWEST:
        return np.empty((len(rival), 0))
    mean = best.mean(0)
    directions = np.linalg.svd(best - mean, full_matrices=False)[2][:_DIRECTIONS]
    found = np.stack([rival, mean, *directions], axis=1)  # (items, numbers)
    found = found - weights @ found
    spread = found.std(0)
    return np.asarray(found[:, spread > 1e-9] / spread[spread > 1e-9])


@dataclass(frozen=True, slots=True)
class Explained:
    """A candidate's gaps without what covariates explain.

    Attributes:
        rest: of each item seen, (seen,).
        freedom: how many numbers that took, at most as many as there are.
    """

    rest: Items
    freedom: float


def explained(gaps: Items, numbers: NDArray[np.float64]) -> Explained:
    """Take from gaps what a ridge regression on the covariates explains.

    Args:
        gaps: candidate minus rival for the items seen, (seen,).
        numbers: covariates of the same items, (seen, numbers).
    """
    if not numbers.shape[1]:
        return Explained(gaps, 0.0)
    centred = numbers - numbers.mean(0)
    square = centred.T @ centred
    inverse = np.linalg.inv(square + _RIDGE * np.eye(len(square)))
    slopes = inverse @ (centred.T @ (gaps - gaps.mean()))
    return Explained(gaps - numbers @ slopes, float(np.trace(inverse @ square)))
