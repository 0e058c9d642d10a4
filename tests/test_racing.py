"""Racing: estimates, errors spent over repeated looks, and what stopped candidates tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.racing import Look, Race, Stratum, look, shrunk, survives_halving

BLOCKS = 8


def strata_of(sizes: list[int], *, macro: bool) -> list[Stratum]:
    total = sum(sizes)
    return [Stratum(1 / len(sizes) if macro else size / total, size) for size in sizes]


def run_race(
    values: list[np.ndarray], strata: list[Stratum], alpha: float
) -> tuple[bool, int, list[Look]]:
    """Race differences in order, each block with its share of every stratum."""
    race = Race(alpha, tuple((i + 1) / BLOCKS for i in range(BLOCKS)))
    looks = []
    for block in range(BLOCKS):
        seen = [v[: round(len(v) * (block + 1) / BLOCKS)].tolist() for v in values]
        items = sum(map(len, seen))
        looks.append(look(strata, seen))
        if race.stops(block, looks[-1], items):
            return True, items, looks
    return False, sum(map(len, values)), looks


def differences(
    random: np.random.Generator, sizes: list[int], gap: float, differing: float = 0.3
) -> list[np.ndarray]:
    """Differences of right and wrong answers, shuffled, whose mean is `gap` but for chance."""
    odds = [(differing + gap) / 2, 1 - differing, (differing - gap) / 2]
    return [random.choice([1.0, 0.0, -1.0], size=n, p=odds) for n in sizes]


@pytest.mark.parametrize("macro", [True, False])
def test_after_all_items_the_estimate_is_the_difference_itself(macro: bool) -> None:
    sizes = [60, 30, 10]
    strata = strata_of(sizes, macro=macro)
    values = differences(np.random.default_rng(0), sizes, -0.1)
    found = look(strata, [v.tolist() for v in values])
    want = sum(s.weight * v.mean() for s, v in zip(strata, values, strict=True))
    assert found.difference == pytest.approx(want)
    assert found.error == 0
    assert found.share == 1


def test_the_estimate_and_its_error_are_right_on_average() -> None:
    sizes = [120, 60, 30]
    strata = strata_of(sizes, macro=True)
    random = np.random.default_rng(1)
    whole = differences(random, sizes, -0.05)
    truth = sum(s.weight * v.mean() for s, v in zip(strata, whole, strict=True))
    found = []
    for _ in range(1500):
        part = [random.permutation(v)[: len(v) // 3].tolist() for v in whole]
        found.append(look(strata, part))
    errors = np.array([f.difference - truth for f in found])
    assert abs(errors.mean()) < 3 * errors.std() / math.sqrt(len(errors))
    assert np.mean([f.error for f in found]) == pytest.approx(errors.std(), rel=0.05)


@pytest.mark.parametrize("sizes", [[400], [240, 100, 60]])
def test_equal_candidates_are_stopped_no_more_often_than_alpha(sizes: list[int]) -> None:
    """Those that would end exactly level with the k-th best: the worst case of all that belong."""
    alpha, runs = 0.05, 1200
    strata = strata_of(sizes, macro=len(sizes) > 1)
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(runs):
        values = differences(random, sizes, 0.0)
        level = sum(s.weight * v.mean() for s, v in zip(strata, values, strict=True))
        values = [v - level for v in values]
        wrong += run_race(values, strata, alpha)[0]
    assert wrong / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)
    assert wrong > 0  # the error is spent, not saved


def test_worse_candidates_stop_early_and_better_ones_never_do_so() -> None:
    random = np.random.default_rng(3)
    strata = strata_of([400], macro=False)
    for gap, most in ((-0.25, 120), (-0.12, 260)):
        runs = [run_race(differences(random, [400], gap), strata, 0.02) for _ in range(200)]
        assert np.mean([items for _, items, _ in runs]) < most
    runs = [run_race(differences(random, [400], 0.05), strata, 0.02) for _ in range(400)]
    assert sum(stopped for stopped, _, _ in runs) <= 2


def test_no_look_stops_on_a_handful_of_items_nor_after_the_last_block() -> None:
    race = Race(0.05, (0.1, 0.5, 1.0))
    worst = Look(-1.0, 0.0, 0.1, 0.0)
    assert not race.stops(0, worst, 10)
    assert race.stops(1, worst, 50)
    assert not race.stops(2, worst, 100)


def test_candidates_that_differ_nowhere_go_on() -> None:
    strata = strata_of([100], macro=False)
    stopped, items, _ = run_race([np.zeros(100)], strata, 0.05)
    assert (stopped, items) == (False, 100)


def test_a_stratum_that_was_not_seen_takes_the_mean_of_the_others() -> None:
    found = look([Stratum(0.5, 10), Stratum(0.5, 10)], [[-1.0, 0.0, -1.0, 0.0], []])
    assert found.difference == pytest.approx(-0.5)
    assert found.error > 0
    assert look([Stratum(1.0, 10)], [[]]).chance == 1.0


@given(st.floats(-0.5, 0.5), st.floats(0, 0.3), st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_a_stopped_candidate_tells_less_than_its_rival(
    difference: float, error: float, finished: list[float]
) -> None:
    rival = max(finished)
    told = shrunk(Look(difference, error, 0.3, 0.001), rival, finished)
    assert told < rival
    mean = sum(finished) / len(finished)
    lowest = min(mean, rival + difference)
    assert told >= min(lowest, rival) - 1e-6


def test_a_sure_estimate_is_told_as_it_is_and_an_unsure_one_is_shrunk() -> None:
    finished = [0.4, 0.5, 0.6]
    assert shrunk(Look(-0.2, 0.0, 1.0, 0.0), 0.6, finished) == pytest.approx(0.4)
    unsure = shrunk(Look(-0.4, 0.3, 0.2, 0.01), 0.6, finished)
    assert 0.45 < unsure < 0.5


def test_of_three_one_survives_a_halving() -> None:
    assert survives_halving(0.1, [0.9])
    assert survives_halving(0.9, [0.1, 0.5])
    assert not survives_halving(0.4, [0.1, 0.5])
    values = np.random.default_rng(0).random(300).tolist()
    kept = [survives_halving(v, values[:i]) for i, v in enumerate(values)]
    assert 0.30 < np.mean(kept) < 0.40
