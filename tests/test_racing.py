"""Racing: estimates, covariates, errors spent over looks, and what stopped candidates tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.boundaries import boundaries
from search.covariates import covariates, explained
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


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("looks", [1, 4, 15])
def test_all_looks_together_make_the_error_that_was_given(alpha: float, looks: int) -> None:
    """Brownian paths in the information t / (1 - t): what the estimates follow under equality."""
    from scipy.special import ndtri

    shares = tuple((i + 1) / (looks + 1) for i in range(looks))
    bounds = boundaries(shares, alpha)
    assert len(bounds) == looks
    assert all(0 < bound < alpha for bound in bounds)
    information = np.array([t / (1 - t) for t in shares])
    random, runs = np.random.default_rng(4), 40_000
    steps = np.sqrt(np.diff(information, prepend=0.0))
    paths = np.cumsum(random.standard_normal((runs, looks)) * steps, axis=1)
    crossed = (paths / np.sqrt(information) < ndtri(bounds)).any(1).mean()
    spent = alpha * math.log(1 + (math.e - 1) * shares[-1])  # the last share is never spent
    assert crossed == pytest.approx(spent, abs=4 * math.sqrt(spent / runs))


def test_a_single_look_spends_what_its_share_allows() -> None:
    (bound,) = boundaries((0.5,), 0.05)
    assert bound == pytest.approx(0.05 * math.log(1 + (math.e - 1) * 0.5), rel=1e-3)
    assert boundaries((), 0.05) == ()


def alike(random: np.random.Generator, items: int, count: int) -> np.ndarray:
    """Right and wrong answers of candidates that find the same items hard, (count, items)."""
    hard, skill = random.normal(0, 1.5, items), random.normal(0, 0.7, (count, 2))
    kind = random.normal(0, 1, (2, items))
    return (skill @ kind - hard + random.normal(0, 0.7, (count, items)) > 0).astype(float)


def test_covariates_average_to_zero_and_need_a_few_trials() -> None:
    random = np.random.default_rng(5)
    finished, weights = alike(random, 80, 12), random.dirichlet(np.ones(80))
    numbers = covariates(finished, finished[4], weights)
    assert numbers.shape == (80, 7)
    assert weights @ numbers == pytest.approx(np.zeros(7), abs=1e-12)
    assert covariates(finished[:7], finished[4], weights).shape == (80, 0)


def test_what_finished_trials_explain_leaves_estimates_right_and_makes_them_surer() -> None:
    random = np.random.default_rng(6)
    items, seen = 300, 100
    weights = np.full(items, 1 / items)
    strata = [Stratum(1.0, items)]
    plain, adjusted, told = [], [], []
    for _ in range(300):
        scores = alike(random, items, 31)
        finished, candidate = scores[:30], scores[30]
        numbers = covariates(finished, finished[4], weights)
        gaps = candidate - finished[4]
        rest = explained(gaps[:seen], numbers[:seen])
        found = look(strata, [rest.rest.tolist()], rest.freedom)
        adjusted.append(found.difference - gaps.mean())
        told.append(found.error)
        plain.append(look(strata, [gaps[:seen].tolist()]).difference - gaps.mean())
    assert abs(np.mean(adjusted)) < 3 * np.std(adjusted) / math.sqrt(300)
    assert np.std(adjusted) < 0.9 * np.std(plain)
    assert np.mean(told) == pytest.approx(np.std(adjusted), rel=0.12)


def test_level_candidates_are_stopped_no_more_often_with_covariates() -> None:
    """The worst case of all that belong, with a regression fitted at every look."""
    random, alpha, runs, items = np.random.default_rng(7), 0.1, 500, 240
    weights, strata = np.full(items, 1 / items), [Stratum(1.0, items)]
    race = Race(alpha, tuple((i + 1) / BLOCKS for i in range(BLOCKS)))
    wrong = 0
    for _ in range(runs):
        scores = alike(random, items, 21)
        finished, gaps = scores[:20], scores[20] - scores[4]
        gaps = gaps - gaps.mean()
        numbers = covariates(finished, finished[4], weights)
        for block in range(BLOCKS - 1):
            seen = items * (block + 1) // BLOCKS
            rest = explained(gaps[:seen], numbers[:seen])
            found = look(strata, [rest.rest.tolist()], rest.freedom)
            if race.stops(block, found, seen):
                wrong += 1
                break
    assert wrong / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)
