"""What a search maximises, of scores: one figure, or the values of a front."""

from collections.abc import Collection, Mapping, Sequence

from objectives.records import ScoreSet, combined
from objectives.smooth import smooth_scores


def signal(sets: Sequence[ScoreSet], smooth: Collection[str]) -> float:
    """The combined score, with smooth twins in place of some objectives.

    Args:
        sets: a candidate's scores.
        smooth: names of objectives whose twin counts.

    Raises:
        ObjectiveError: an objective with a twin gave an example no margin.
    """
    return combined([smooth_scores(s) if s.objective in smooth else s for s in sets])


def aims(
    sets: Sequence[ScoreSet], front: Mapping[str, Sequence[str]], smooth: Collection[str]
) -> dict[str, float]:
    """The values of a front by name, each the signal of its objectives; none without a front."""
    return {
        name: signal([s for s in sets if s.objective in own], smooth)
        for name, own in front.items()
    }
