"""Guards, shrinkage, what a split can tell, and counts of mishaps."""

import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from objectives.errors import ObjectiveError
from objectives.guard import Floor, decide, read_floor
from objectives.mishaps import Mishaps, count_mishaps
from objectives.outlook import expected_best, outlook
from objectives.records import Average, ExampleScore, ScoreSet
from objectives.shrinkage import shrink


def scored(
    values: Iterable[Any], categories: str = "a", average: Average = "micro", weight: float = 1.0
) -> ScoreSet:
    """Scores by category in turn."""
    rows = (
        ExampleScore(str(i), float(v), categories[i % len(categories)])
        for i, v in enumerate(values)
    )
    return ScoreSet("o", average, weight, tuple(rows))


@pytest.mark.parametrize(
    ("text", "floor"),
    [
        ("parent - 0.02", Floor(-0.02, True)),
        ("parent-.02", Floor(-0.02, True)),
        (" parent + 0.01 ", Floor(0.01, True)),
        ("parent", Floor(0.0, True)),
        (0.6, Floor(0.6, False)),
        (1, Floor(1.0, False)),
    ],
)
def test_floors_are_read(text: str | float, floor: Floor) -> None:
    assert read_floor(text) == floor
    assert read_floor(str(floor) if floor.of_parent else floor.value) == floor


@pytest.mark.parametrize("text", ["base - 0.02", "parent - 2%", "parent * 0.9", "0.6", ""])
def test_other_floors_are_refused(text: str) -> None:
    with pytest.raises(ObjectiveError, match=r"must be `parent - 0\.02` or a number"):
        read_floor(text)


@pytest.mark.parametrize("text", ["parent - 2", 60, -0.1, math.nan])
def test_points_in_place_of_shares_are_refused(text: str | float) -> None:
    with pytest.raises(ObjectiveError, match=r"2 points are 0\.02"):
        read_floor(text)


def test_a_guard_holds_only_when_the_lower_bound_says_so() -> None:
    floor = read_floor("parent - 0.02")
    parent = [1.0, 0.0] * 200
    better = [1.0, 0.2] * 200
    worse = [0.7, 0.0] * 200
    holds = decide(floor, [scored(better)], [scored(parent)])
    assert holds.standing == "holds"
    assert holds.constraint <= 0 < holds.interval.value == pytest.approx(0.1)
    violated = decide(floor, [scored(worse)], [scored(parent)])
    assert (violated.standing, violated.constraint > 0) == ("violated", True)


def test_too_few_examples_leave_a_guard_undecided() -> None:
    floor = read_floor("parent - 0.02")
    few = decide(floor, [scored([1.0, 0.0] * 20)], [scored([1.0, 0.0] * 20)])
    assert few.standing == "undecided"  # even the parent itself: 40 examples cannot show it
    assert few.constraint == pytest.approx(-0.02 - few.interval.low)
    many = decide(floor, [scored([1.0, 0.0] * 95)], [scored([1.0, 0.0] * 95)])
    assert many.standing == "holds"  # from 189 examples on


def test_a_guard_of_a_number_looks_at_the_score_alone() -> None:
    scores = [scored([1.0, 1.0, 1.0, 0.0] * 100)]
    assert decide(Floor(0.6, False), scores, scores).standing == "holds"
    assert decide(Floor(0.75, False), scores, scores).standing == "undecided"
    assert decide(Floor(0.9, False), scores, scores).standing == "violated"


def test_a_guard_that_says_it_holds_is_seldom_wrong() -> None:
    rng, wrong = np.random.default_rng(3), 0
    floor = read_floor("parent - 0.02")
    for _ in range(80):  # the truth is just on the floor: "holds" is then a false alarm
        parent = rng.random(300) < 0.6
        ours = np.where(rng.random(300) < 0.1, rng.random(300) < 0.4, parent)
        wrong += decide(floor, [scored(ours)], [scored(parent)]).standing == "holds"
    assert wrong <= 7  # 2.5 % of 80 is 2, standard deviation 1.4


def chosen_error(shared: float, rng: np.random.Generator) -> tuple[float, float]:
    """Raw and shrunken score of the best of 60 candidates minus its true one, once."""
    true = 0.5 + 0.015 * rng.standard_normal(60)
    items = shared * np.where(rng.random(100) < 0.5, -1, 1)
    right = rng.random((60, 100)) < true[:, None] + items
    found = shrink([[scored(row)] for row in right])
    best, truth = int(right.mean(1).argmax()), true + items.mean()
    return right.mean(1)[best] - truth[best], found.values[best] - truth[best]


@pytest.mark.parametrize("shared", [0.0, 0.35])
def test_shrinkage_takes_the_bias_of_having_been_chosen_away(shared: float) -> None:
    rng = np.random.default_rng(5)
    raw, shrunken = np.mean([chosen_error(shared, rng) for _ in range(25)], axis=0)
    assert raw > 0.05  # how much better than it is the winner looks
    assert abs(shrunken) < 0.015  # standard error 0.004


def test_shrinkage_keeps_order_and_what_is_not_noise() -> None:
    table = [[float(i >= 10 * k) for i in range(100)] for k in range(6)]  # steps of 10 points
    found = shrink([[scored(row)] for row in table])
    assert list(found.values) == sorted(found.values, reverse=True)
    assert 0.9 < found.kept <= 1
    assert found.overstatement == pytest.approx(1.0 - found.values[0])
    same = shrink([[scored([1.0, 0.0])]] * 5)
    assert (same.kept, same.values) == (0.0, (0.5,) * 5)


def test_shrinkage_combines_objectives_and_categories_as_the_score_does() -> None:
    rng = random.Random(4)
    rows = [[rng.random() + 0.3 * k for _ in range(31)] for k in range(5)]
    sets = [
        [scored(row, "aab", "macro", 2.0), ScoreSet("p", "micro", 1.0, scored(row[:7]).scores)]
        for row in rows
    ]
    raw = [(2 * s[0].value() + s[1].value()) / 3 for s in sets]
    found, mean = shrink(sets), sum(raw) / 5
    assert found.values == pytest.approx([mean + found.kept * (x - mean) for x in raw])


def test_shrinkage_needs_four_candidates_of_the_same_examples() -> None:
    with pytest.raises(ObjectiveError, match="at least 4 of them, but got 3"):
        shrink([[scored([1.0, 0.0])]] * 3)
    with pytest.raises(ValueError, match="same objectives and examples"):
        shrink([[scored([1.0, 0.0])]] * 4 + [[scored([1.0])]])


def test_the_outlook_of_400_examples_and_100_candidates() -> None:
    found = outlook({"all": 400}, "micro", 100)
    assert found.standard_error == pytest.approx(0.025)
    assert found.overstatement == pytest.approx(0.0627, abs=1e-4)
    rng = np.random.default_rng(0)
    seen = rng.binomial(400, 0.5, (2000, 100)).max(1).mean() / 400 - 0.5
    assert found.overstatement == pytest.approx(seen, abs=1e-3)
    assert found.text() == (
        "400 examples: standard error 2.5 points, smallest difference detectable 6.3; "
        "the best of 100 equal candidates looks up to 6.3 points better than it is"
    )


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    from objectives.statistics import paired_difference

    least = outlook({"all": 400}, "micro", 2, differing=0.2).detectable
    rng, seen = np.random.default_rng(2), 0
    for _ in range(60):
        draw = rng.random(400)
        ours, theirs = draw < 0.1 + least / 2, draw > 0.9 + least / 2
        seen += paired_difference([scored(ours)], [scored(theirs)]).excludes_zero()
    assert 39 <= seen <= 57  # 80 % of 60 is 48, standard deviation 3.1


def test_macro_averages_are_as_sharp_as_their_small_categories_allow() -> None:
    sizes = {"general": 61, "hallucination": 250, "reasoning": 98}
    micro, macro = (outlook(sizes, average, 10).standard_error for average in ("micro", "macro"))
    assert [micro, macro] == pytest.approx([0.0247, 0.0291], abs=1e-4)
    assert outlook({"general": 61}, "micro", 10).standard_error == pytest.approx(0.064, abs=1e-4)


@pytest.mark.parametrize(("count", "value"), [(1, 0.0), (2, math.pi**-0.5), (100, 2.50759)])
def test_the_expected_best_of_normal_numbers(count: int, value: float) -> None:
    assert expected_best(count) == pytest.approx(value, abs=1e-5)


def test_mishaps_are_counted_summed_and_told() -> None:
    flags = (("unparsed",), ("unparsed", "truncated"), (), ("empty", "empty", "unparsed"))
    rows = [ExampleScore(str(i), 0.0, "a", f) for i, f in enumerate(flags)]
    found = count_mishaps(rows)
    assert found == Mishaps(truncated=1, unparsed=3, empty=1)
    assert found + found == Mishaps(truncated=2, unparsed=6, empty=2)
    assert found.text(400) == "of 400: 3 unparsed, 1 truncated, 1 empty"
    assert Mishaps().text(400) == ""
    with pytest.raises(ObjectiveError, match="but one is 'lost'"):
        count_mishaps([ExampleScore("x", 0.0, "a", ("lost",))])
