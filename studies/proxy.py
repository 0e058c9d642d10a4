"""How well what a search maximises ranks its candidates as the real metric does."""

from collections.abc import Mapping, Sequence
from math import atanh, sqrt, tanh
from typing import Any

from optuna.trial import FrozenTrial

from search.feasibility import value_of
from studies.trial_facts import figures_of

_FEWEST = 5


def rank_agreement(
    trials: Sequence[FrozenTrial], weights: Mapping[str, float]
) -> dict[str, Any] | None:
    """Spearman's rank correlation of the search signal with the combined metric, over trials.

    Both are of the selection split, so examples that happen to be easy are easy for both. The
    95 % interval is Bonett and Wright's (Psychometrika 65, 2000).

    Args:
        trials: of a search; failed ones, and those that racing stopped, are passed over.
        weights: of the objectives, by name.

    Returns:
        "value", "low", "high" and "n"; None for fewer than five trials, or where all are equal.
    """
    from scipy.stats import spearmanr

    known = [(value_of(t), figures_of(t)) for t in trials]
    pairs = [
        (signal, sum(weight * figures[name] for name, weight in weights.items()))
        for signal, figures in known
        if signal is not None and weights.keys() <= figures.keys()
    ]
    signals, metrics = [p[0] for p in pairs], [p[1] for p in pairs]
    if len(pairs) < _FEWEST or len(set(signals)) == 1 or len(set(metrics)) == 1:
        return None
    value = float(spearmanr(signals, metrics).statistic)
    inside = min(abs(value), 1 - 1e-12) * (1 if value > 0 else -1)
    half = 1.96 * sqrt((1 + value**2 / 2) / (len(pairs) - 3))
    low, high = (tanh(atanh(inside) + side * half) for side in (-1, 1))
    return {"value": value, "low": low, "high": high, "n": len(pairs)}
