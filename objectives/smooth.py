"""Smooth twins: margins instead of right and wrong, in a form that scaling logits cannot win."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from objectives.errors import ObjectiveError
from objectives.records import ScoreSet

_TIE = math.log(2)  # the log-loss of a tie, so that a margin of 0+ is worth one half


def smooth_twin(margins: Sequence[float]) -> tuple[float, ...]:
    """One value in [0, 1] per margin, monotone in it; their mean is the twin of an accuracy.

    The value is 1 + log sigmoid(margin / spread) / (2 log 2), clipped at 0, where the spread is
    the median size of all the margins: 1 in the limit, one half just above a tie, 0 from a wrong
    margin of 1.1 spreads on, so that no single example outweighs others. An exact tie is 0, as in
    the accuracy: it is not a win. All margins times a positive number give the same values.

    Args:
        margins: for pairs the score of the chosen response minus that of the rejected one; for
            choices the right option's minus the best wrong one's. All examples of one candidate
            on one split.

    Raises:
        ObjectiveError: a margin is not finite.
    """
    bad = [margin for margin in margins if not math.isfinite(margin)]
    if bad:
        raise ObjectiveError(f"a smooth twin needs finite margins, but {len(bad)} are not.")
    spread = _spread(margins)
    return tuple(_value(margin / spread) if margin else 0.0 for margin in margins)


def smooth_scores(scores: ScoreSet) -> ScoreSet:
    """The same examples with the twin of each margin in place of right or wrong.

    Raises:
        ObjectiveError: an example has no margin.
    """
    margins = [score.margin for score in scores.scores if score.margin is not None]
    if len(margins) < len(scores.scores):
        raise ObjectiveError(
            f"{scores.objective} has no smooth twin: {len(scores.scores) - len(margins)} of "
            f"{len(scores.scores)} examples came without a margin. Preference pairs and choices "
            "by log-probability have margins; written answers have none."
        )
    pairs = zip(scores.scores, smooth_twin(margins), strict=True)
    return replace(scores, scores=tuple(replace(score, value=v) for score, v in pairs))


def _spread(margins: Sequence[float]) -> float:
    """The median size of the margins that are not ties; 1 where all are."""
    sizes = [abs(margin) for margin in margins if margin]
    return median(sizes) if sizes else 1.0


def _value(z: float) -> float:
    """1 + log sigmoid(z) / (2 log 2), clipped at 0 (it never passes 1)."""
    log_sigmoid = min(z, 0.0) - math.log1p(math.exp(-abs(z)))
    return max(0.0, 1.0 + log_sigmoid / (2 * _TIE))
