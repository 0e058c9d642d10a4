"""Racing: a candidate stops when it is very unlikely to end among the best.

Items are scored block by block in a fixed, stratified, shuffled order, so what is known after some
blocks is a stratified sample, drawn without replacement from the split that would decide. The
candidate is compared, item by item, with the worst of the k best finished ones. What finished
trials explain of the differences is taken out (`search.covariates`); the rest is estimated over
the whole split as in Cochran, Sampling techniques (1977), sections 5.3 and 5.4: the sum over
strata of weight times mean difference, with variance weight^2 s^2 / n (1 - n / N).

The looks are repeated, so the error is spent over them (`search.boundaries`): a candidate that
would end exactly level with the k-th best is stopped with probability alpha over all looks
together, as far as a mean of so many items is normal and the regression's own error, of one in
the number of items, is left aside; one that would end above it, less often.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search.boundaries import boundaries

STOPPED = "stopped"
"""Attribute of a trial that racing stopped: how many items it was scored on."""
RACING = Literal["off", "test", "halving"]

_FEWEST = 20
"""Items below which a mean is not taken for normal: no look there may stop anything."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items of one objective and category.

    Attributes:
        weight: what its mean counts in the score; all weights sum to 1.
        size: items in the whole split.
    """

    weight: float
    size: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a candidate after some blocks.

    Attributes:
        difference: estimated score of the whole split, minus that of the one it races against.
        error: standard error of that; 0 once every item is seen.
        share: of all items that were seen.
        chance: probability of such a difference or a lower one, were the two equal.
    """

    difference: float
    error: float
    share: float
    chance: float


def look(
    strata: Sequence[Stratum], differences: Sequence[Sequence[float]], explained: float = 0.0
) -> Look:
    """Estimate the difference over the whole split from what was seen of each stratum.

    Strata of which fewer than two items were seen take the pooled variance; those of which none
    was seen take the pooled mean.

    Args:
        strata: all of them.
        differences: candidate minus rival, for the items seen of each stratum.
        explained: numbers that were fitted to them before.
    """
    seen = [len(values) for values in differences]
    total, count = sum(map(sum, differences)), sum(seen)
    if not count:
        return Look(0.0, math.inf, 0.0, 1.0)
    means = [sum(v) / n if n else total / count for v, n in zip(differences, seen, strict=True)]
    squares = [
        sum((value - mean) ** 2 for value in values)
        for values, mean in zip(differences, means, strict=True)
    ]
    freedom: float = max(1, count - sum(n > 0 for n in seen))
    pooled = sum(squares) / freedom
    difference = variance = 0.0
    for stratum, mean, square, n in zip(strata, means, squares, seen, strict=True):
        spread = square / (n - 1) if n > 2 and square > 0 else pooled
        difference += stratum.weight * mean
        variance += stratum.weight**2 * spread / max(n, 1) * (1 - n / stratum.size)
    left = max(1.0, count - explained)
    error, freedom = math.sqrt(variance * count / left), max(1.0, freedom - explained)
    share = count / sum(stratum.size for stratum in strata)
    return Look(difference, error, share, _chance(difference, error, freedom))


def _chance(difference: float, error: float, freedom: float) -> float:
    """Lower tail of Student's distribution."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if difference >= 0 else 0.0
    return float(stdtr(freedom, difference / error))


@dataclass(frozen=True, slots=True)
class Race:
    """The rule that stops candidates.

    Attributes:
        alpha: probability with which a candidate that belongs among the best may be stopped.
        ends: share of all items that is seen at the end of each block, ascending to 1.
    """

    alpha: float
    ends: tuple[float, ...]

    def stops(self, block: int, found: Look, items: int) -> bool:
        """Whether a candidate stops after a block.

        Args:
            block: index of the block just scored; none stops after the last.
            found: what is known now.
            items: that were seen.
        """
        if block >= len(self.ends) - 1 or items < _FEWEST:
            return False
        return found.chance <= boundaries(self.ends[:-1], self.alpha)[block]


def shrunk(found: Look, rival: float, finished: Sequence[float]) -> float:
    """The score that a stopped candidate tells the sampler.

    An empirical Bayes estimate: the candidate's own, weighted against the mean of the finished
    trials by their spread and its standard error; never as high as the rival it lost to.

    Args:
        found: at the last look.
        rival: score of the one it raced against.
        finished: scores of finished trials.
    """
    mean = sum(finished) / len(finished)
    spread = sum((value - mean) ** 2 for value in finished) / max(1, len(finished) - 1)
    own = spread / (spread + found.error**2) if spread + found.error**2 else 1.0
    estimate = own * (rival + found.difference) + (1 - own) * mean
    return min(estimate, rival - 1e-9)


def survives_halving(value: float, peers: Sequence[float], eta: float = 3.0) -> bool:
    """Whether a candidate goes on by asynchronous successive halving.

    It does if it is among the best `1 / eta` of all that were scored up to the same block (Li et
    al., A system for massively parallel hyperparameter tuning, 2020, algorithm 2); with fewer than
    `eta` of them everyone does.

    Args:
        value: its score up to this block.
        peers: scores of all earlier candidates up to this block.
        eta: of three, one goes on.
    """
    if len(peers) + 1 < eta:
        return True
    better = sum(peer > value for peer in peers)
    return better < (len(peers) + 1) / eta
