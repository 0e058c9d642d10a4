"""What no race can save: the fewest items that tell the candidates of a search apart.

A test that stops a candidate level with its rival with probability alpha at most must see, on
average, at least ln(1 / alpha) over the information of one item (Wald, Ann. Math. Statist. 16,
1945, on expected sample sizes); for paired differences of mean -d and variance s^2 that is
2 ln(1 / alpha) s^2 / d^2 items. Of a split of N items, drawn without replacement, I items'
worth is known after N I / (N + I) of them. What earlier trials explain of the differences is
taken out first, as the product does, but with all items in view: the bound errs on the side of
saving more.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.covariates import BEST, covariates, explained

Scores = NDArray[np.float64]


def saved_at_most(scores: Sequence[Scores], weights: Scores, alpha: float, top: int) -> float:
    """Share of all items that a race of such error could save, at most.

    Args:
        scores: of all candidates on all items, in the order of the search, (items,) each.
        weights: what an item counts, (items,), summing to 1.
        alpha: error of the race.
        top: who must be able to enter so many best.
    """
    fewest = 0.0
    for number, own in enumerate(scores):
        best = sorted(scores[:number], key=lambda other: -float(weights @ other))[:BEST]
        fewest += _fewest(own, best, weights, alpha, top)
    return 1 - fewest / (len(scores) * len(weights))


def _fewest(own: Scores, best: Sequence[Scores], weights: Scores, alpha: float, top: int) -> float:
    """Items that one candidate needs."""
    items = len(own)
    if len(best) < top:
        return items
    rival = best[top - 1]
    behind = float(weights @ (rival - own))
    if behind <= 0:
        return items  # it belongs among the best, and is scored whole
    rest = explained(own - rival, covariates(np.stack(best), rival, weights)).rest
    spread = items * float(weights**2 @ (rest - rest.mean()) ** 2)  # of one item's worth
    needed = 2 * math.log(1 / alpha) * spread / behind**2
    return items * needed / (items + needed)
