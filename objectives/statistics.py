"""Intervals for scores and for paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from objectives.records import ScoreSet, counting

RESAMPLES = 4000
_SEED = 20_240_917  # intervals are reproducible: the same scores give the same bounds


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether a difference is established at the 5 % level."""
        return self.low > 0 or self.high < 0


def interval(sets: Sequence[ScoreSet]) -> Interval:
    """95 % interval of the combined score.

    Percentile bootstrap over examples, stratified by category and objective (Efron and
    Tibshirani, An introduction to the bootstrap, chapter 13). Where all examples of one
    objective got the same 0 or 1 the bootstrap has no width: Wilson's interval is taken there.
    """
    sets = counting(sets)
    value = _value(sets)
    if len(sets) == 1 and {score.value for score in sets[0].scores} in ({0.0}, {1.0}):
        return Interval(value, *_wilson(value, len(sets[0].scores)))
    return _bootstrap(sets)


def paired_difference(ours: Sequence[ScoreSet], theirs: Sequence[ScoreSet]) -> Interval:
    """95 % interval of `ours` minus `theirs`, from the differences of the same examples.

    Where no example differs the bootstrap has no width: the bound is then Wilson's for a share of
    differing examples of which none was seen, to both sides.

    Raises:
        ValueError: the two hold different objectives or examples.
    """
    gaps = counting([_subtract(a, b) for a, b in zip(ours, theirs, strict=True)])
    if all(score.value == 0 for gap in gaps for score in gap.scores):
        _, bound = _wilson(0.0, sum(len(gap.scores) for gap in gaps))
        return Interval(0.0, -bound, bound)
    return _bootstrap(gaps)


def mcnemar(ours: Sequence[ScoreSet], theirs: Sequence[ScoreSet]) -> float:
    """Exact two-sided p value of McNemar's test on examples of which just one side is right.

    Binomial test of the discordant pairs (McNemar, Psychometrika 12, 1947); 1 if there are none.
    """
    from scipy.stats import binomtest

    gaps = [
        score.value
        for gap in counting([_subtract(a, b) for a, b in zip(ours, theirs, strict=True)])
        for score in gap.scores
        if score.value != 0
    ]
    wins = sum(gap > 0 for gap in gaps)
    return float(binomtest(wins, len(gaps)).pvalue) if gaps else 1.0


def _value(sets: Sequence[ScoreSet]) -> float:
    return float(_combine([np.array([s.value()]) for s in sets], sets)[0])


def _bootstrap(sets: Sequence[ScoreSet]) -> Interval:
    rng = np.random.default_rng(_SEED)
    low, high = np.quantile(_combine([_resampled(s, rng) for s in sets], sets), [0.025, 0.975])
    return Interval(_value(sets), float(low), float(high))


def _subtract(a: ScoreSet, b: ScoreSet) -> ScoreSet:
    other = {score.id: score.value for score in b.scores}
    if a.objective != b.objective or {s.id for s in a.scores} != other.keys():
        raise ValueError(
            "a paired difference needs the same objective and examples on both sides, but got "
            f"{a.objective} ({len(a.scores)}) and {b.objective} ({len(b.scores)})."
        )
    return replace(a, scores=tuple(replace(s, value=s.value - other[s.id]) for s in a.scores))


def _resampled(scores: ScoreSet, rng: np.random.Generator) -> NDArray[np.float64]:
    """The objective's figure on `RESAMPLES` resamples: (R,)."""
    groups: dict[str, list[float]] = {}
    for score in scores.scores:
        groups.setdefault(score.category, []).append(score.value)
    means, sizes = [], []
    for name in sorted(groups):
        values = np.array(groups[name])
        means.append(values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1))
        sizes.append(len(values))
    weights = sizes if scores.average == "micro" else None
    return np.average(np.stack(means), axis=0, weights=weights)


def _combine(
    parts: Sequence[NDArray[np.float64]], sets: Sequence[ScoreSet]
) -> NDArray[np.float64]:
    weights = np.array([s.weight for s in sets])
    return np.tensordot(weights / weights.sum(), np.stack(list(parts)), axes=1)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion at 95 %."""
    z2 = 1.959963984540054**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
