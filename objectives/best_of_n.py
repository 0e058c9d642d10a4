"""Best of N: how right the response is that a scorer picks among N sampled ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from objectives.errors import ObjectiveError


@dataclass(frozen=True, slots=True)
class BestOfN:
    """One question's figures, or their mean over questions; all in [0, 1].

    Attributes:
        picked: correctness of the top-scored response; of responses that share the top score,
            their mean, so that a constant scorer gets `random` and not the first response's luck.
        pass_at_1: of the first response, as sampled.
        pass_at_n: of the most correct response: what a perfect scorer would pick.
        random: mean of all responses: what a scorer that draws by lot would pick on average.
    """

    picked: float
    pass_at_1: float
    pass_at_n: float
    random: float


def best_of_n(scores: Sequence[float], correctness: Sequence[float]) -> BestOfN:
    """The figures of one question, from each response's score and its correctness in [0, 1].

    Raises:
        ObjectiveError: no response, another number of scores, or a score that is NaN.
    """
    if not correctness or len(scores) != len(correctness):
        raise ObjectiveError(
            "best of N needs one score for each of at least one response, but got "
            f"{len(scores)} scores for {len(correctness)} responses."
        )
    if any(score != score for score in scores):
        raise ObjectiveError(f"best of N cannot rank scores that are not numbers: {list(scores)}.")
    top = max(scores)
    picked = [c for s, c in zip(scores, correctness, strict=True) if s == top]
    return BestOfN(
        picked=sum(picked) / len(picked),
        pass_at_1=correctness[0],
        pass_at_n=max(correctness),
        random=sum(correctness) / len(correctness),
    )


def mean_of_n(questions: Sequence[BestOfN]) -> BestOfN:
    """The mean over at least one question."""
    count = len(questions)
    return BestOfN(
        picked=sum(q.picked for q in questions) / count,
        pass_at_1=sum(q.pass_at_1 for q in questions) / count,
        pass_at_n=sum(q.pass_at_n for q in questions) / count,
        random=sum(q.random for q in questions) / count,
    )
