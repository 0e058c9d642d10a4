"""Candidates' scores, drawn together by what of their spread is noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from objectives.errors import ObjectiveError
from objectives.records import ScoreSet

_FEWEST = 4  # with three candidates or fewer there is no estimate of how much is noise


@dataclass(frozen=True, slots=True)
class Shrunken:
    """Empirical-Bayes estimates of candidates' true scores.

    Attributes:
        values: one for each candidate, in their order, and in the order of their raw scores.
        kept: the share of each candidate's distance to the mean that is kept, in [0, 1].
        overstatement: the best raw score minus its shrunken value.
    """

    values: tuple[float, ...]
    kept: float
    overstatement: float


def shrink(candidates: Sequence[Sequence[ScoreSet]]) -> Shrunken:
    """Shrink the combined scores of candidates on the same examples toward their mean.

    Efron and Morris, JASA 68 (1973), with the noise taken from the residuals of a two-way table
    of candidates by examples: examples that are hard for all candidates raise or lower all
    scores alike and are no noise in their differences. Residuals are taken within objectives and
    categories, weighted as in the combined score. The candidates should be an exchangeable lot,
    such as the trials of one search; the best one's estimate then has no bias from having been
    chosen. Shrinking keeps the order, so it changes what is believed of a winner, not who wins.

    Args:
        candidates: at least four; each one's score sets, all of the same objectives and examples.

    Raises:
        ObjectiveError: fewer than four candidates.
        ValueError: the candidates hold different objectives or examples.
    """
    count = len(candidates)
    if count < _FEWEST:
        raise ObjectiveError(
            f"shrinkage learns from the candidates' spread and needs at least {_FEWEST} of them, "
            f"but got {count}."
        )
    values, noise = np.zeros(count), 0.0  # (K,), the noise's variance in one score
    for weight, table in _strata(candidates):
        values += weight * table.mean(1)
        noise += weight**2 * _noise(table)
    spread = float(values.var(ddof=1))
    ratio = noise / spread if spread > 0 else np.inf
    kept = max(0.0, 1.0 - (count - 3) / (count - 1) * ratio) if spread > 0 else 0.0
    mean = float(values.mean())
    shrunken = mean + kept * (values - mean)
    best = int(values.argmax())
    return Shrunken(tuple(shrunken.tolist()), kept, float(values[best] - shrunken[best]))


def _noise(table: NDArray[np.float64]) -> float:
    """Variance of a row's mean by chance alone, in comparison with the other rows.

    Of a single example no residual is left: all of its spread counts as noise then.
    """
    count, examples = table.shape
    residuals = table - table.mean(0)  # (K, n)
    if examples > 1:
        residuals = residuals - residuals.mean(1, keepdims=True)
    freedom = (count - 1) * max(1, examples - 1)
    return float((residuals**2).sum() / freedom / examples)


def _strata(
    candidates: Sequence[Sequence[ScoreSet]],
) -> list[tuple[float, NDArray[np.float64]]]:
    """For each category of each objective: its weight in the score, and a table (K, n)."""
    total = sum(s.weight for s in candidates[0])
    strata = []
    for sets in zip(*candidates, strict=True):
        first, places = sets[0], [{s.id: s.value for s in one.scores} for one in sets]
        if any(
            one.objective != first.objective or place.keys() != places[0].keys()
            for one, place in zip(sets, places, strict=True)
        ):
            raise ValueError(
                f"shrinkage needs the same objectives and examples of all candidates, but "
                f"{first.objective} differs."
            )
        groups: dict[str, list[str]] = {}
        for score in first.scores:
            groups.setdefault(score.category, []).append(score.id)
        for ids in groups.values():
            share = len(ids) / len(first.scores) if first.average == "micro" else 1 / len(groups)
            table = np.array([[place[i] for i in ids] for place in places])
            strata.append((first.weight / total * share, table))
    return strata
