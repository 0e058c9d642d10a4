"""Figures and intervals."""

import random
from dataclasses import replace

import pytest

from objectives.records import Average, ExampleScore, ScoreSet, combined, figures
from objectives.statistics import interval, mcnemar, paired_difference


def scores(values: list[float], average: Average = "micro", weight: float = 1.0) -> ScoreSet:
    """Every third example in category b, the rest in a."""
    rows = tuple(ExampleScore(str(i), v, "ab"[i % 3 == 0]) for i, v in enumerate(values))
    return ScoreSet("o", average, weight, rows)


def test_micro_macro_and_weights() -> None:
    one = scores([1, 0, 0, 1, 0, 1])  # b: 1, 1; a: 0, 0, 0, 1
    assert one.by_category() == {"a": 0.25, "b": 1.0}
    assert one.value() == pytest.approx(0.5)
    assert replace(one, average="macro").value() == pytest.approx(0.625)
    other = replace(scores([1, 1], weight=3.0), objective="p")
    assert combined([one, other]) == pytest.approx((0.5 + 3 * 1.0) / 4)
    assert figures([one]) == {"o": 0.5, "o/a": 0.25, "o/b": 1.0}


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(1)
    inside = 0
    for _ in range(120):
        found = interval([scores([float(rng.random() < 0.6) for _ in range(150)])])
        inside += found.low <= 0.6 <= found.high
    assert 106 <= inside <= 120  # 95 % of 120 is 114, standard deviation 2.4


def test_the_same_scores_give_the_same_bounds() -> None:
    one = [scores([1, 0, 1, 1, 0, 1, 0, 0, 1])]
    assert interval(one) == interval(one)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.886, 1.0), (0.0, 0.0, 0.114)])
def test_all_right_or_all_wrong_still_has_a_width(value: float, low: float, high: float) -> None:
    found = interval([scores([value] * 30)])  # Wilson for 30 of 30: [0.8865, 1]
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-3)


def test_pairing_sees_what_separate_intervals_cannot() -> None:
    rng = random.Random(2)
    worse = [float(rng.random() < 0.5) for _ in range(200)]
    better = [1.0 if i % 20 == 0 else v for i, v in enumerate(worse)]
    gap = paired_difference([scores(better)], [scores(worse)])
    assert gap.excludes_zero()
    assert gap.low > 0
    assert interval([scores(better)]).low < interval([scores(worse)]).high
    assert paired_difference([scores(worse)], [scores(worse)]).value == 0


def test_no_difference_seen_is_not_a_difference_of_exactly_nothing() -> None:
    same = [scores([1.0, 0.0] * 15)]
    gap = paired_difference(same, same)
    assert [gap.value, gap.low, gap.high] == pytest.approx([0, -0.114, 0.114], abs=1e-3)
    better = paired_difference([scores([1.0] * 30)], [scores([0.0] * 30)])
    assert (better.value, better.excludes_zero()) == (1.0, True)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    ours, theirs = [1.0] * 9 + [0.0] + [1.0] * 5, [0.0] * 9 + [1.0] + [1.0] * 5
    assert mcnemar([scores(ours)], [scores(theirs)]) == pytest.approx(22 / 1024)
    assert mcnemar([scores(ours)], [scores(ours)]) == 1.0


def test_other_examples_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same objective and examples"):
        paired_difference([scores([1, 0])], [scores([1, 0, 1])])
