"""Best of N by hand, and what holds of it always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.best_of_n import best_of_n, mean_of_n
from objectives.errors import ObjectiveError

SHARE = st.floats(0, 1)
SCORED = st.lists(st.tuples(st.floats(-1e6, 1e6), SHARE), min_size=1, max_size=8)


def test_the_top_scored_response_is_picked() -> None:
    found = best_of_n([0.1, 2.0, -1.0, 0.3], [1.0, 0.3, 0.0, 0.9])
    assert (found.picked, found.pass_at_1, found.pass_at_n) == (0.3, 1.0, 1.0)
    assert found.random == pytest.approx(0.55)


def test_responses_with_the_same_score_share_the_pick() -> None:
    assert best_of_n([2.0, 2.0, 1.0], [1.0, 0.0, 0.6]).picked == 0.5
    assert best_of_n([7.0] * 4, [1.0, 0.0, 0.0, 0.0]).picked == 0.25  # constant: random, not luck


def test_the_mean_over_questions() -> None:
    found = mean_of_n([best_of_n([1, 0], [1.0, 0.0]), best_of_n([0, 1], [1.0, 0.5])])
    assert (found.picked, found.pass_at_1, found.pass_at_n, found.random) == (0.75, 1, 1, 0.625)


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, float("nan")]])
def test_scores_that_do_not_fit_are_refused(scores: list[float]) -> None:
    with pytest.raises(ObjectiveError, match="best of N"):
        best_of_n(scores, [1.0, 0.0])


@given(rows=SCORED, scale=st.floats(0.25, 4))
def test_the_pick_lies_between_worst_and_best_and_ignores_scale(
    rows: list[tuple[float, float]], scale: float
) -> None:
    scores, correctness = [s for s, _ in rows], [c for _, c in rows]
    found = best_of_n(scores, correctness)
    assert min(correctness) - 1e-12 <= found.picked <= found.pass_at_n + 1e-12
    assert min(correctness) - 1e-12 <= found.random <= found.pass_at_n + 1e-12
    if len({scale * s for s in scores}) == len(set(scores)):  # no score was rounded to another
        assert best_of_n([scale * s for s in scores], correctness) == found
