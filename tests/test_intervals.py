"""Intervals hold what they promise, by exact sums where there are some and by draws elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hyp

from tipsai.intervals import bootstrap_mean, bounded, from_the_rest, wilson

seeds = hyp.integers(0, 10_000)


def _chances(n, p):
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def test_wilsons_interval_is_the_known_one():
    low, high = wilson([0, 5, 10], [10, 10, 10])
    np.testing.assert_allclose(low, [0, 0.23659, 0.72247], atol=1e-5)
    np.testing.assert_allclose(high, [0.27753, 0.76341, 1], atol=1e-5)
    assert low[0] == 0 and high[2] == 1 and np.isnan(wilson(0, 0)).all()


@pytest.mark.parametrize("n_yes, n", [(0, 10), (50, 100), (30, 30), (1000, 5000)])
def test_wilsons_interval_holds_the_share_seen_and_narrows(n_yes, n):
    (low, high), (nearer, further) = wilson(n_yes, n), wilson(4 * n_yes, 4 * n)
    assert 0 <= low <= n_yes / n <= high <= 1 and further - nearer < high - low


@pytest.mark.parametrize("n", [30, 200])
def test_wilsons_interval_holds_the_share_as_often_as_it_says(n):
    low, high = wilson(np.arange(n + 1), n)
    held = [_chances(n, p)[(low <= p) & (p <= high)].sum() for p in np.linspace(0.05, 0.95, 91)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("level", [0.95, 0.9999])
@given(n=hyp.integers(1, 60), p=hyp.floats(0.001, 0.999))
def test_bounds_are_passed_no_more_often_than_they_say(level, n, p):
    low, high = bounded(np.arange(n + 1) / n, n, level)
    chances = _chances(n, p)
    assert chances[low > p].sum() <= (1 - level) / 2 and chances[high < p].sum() <= (1 - level) / 2
    assert (low <= np.arange(n + 1) / n + 1e-12).all() and (np.diff(low) > 0).all() and low[0] == 0 and high[-1] == 1


@pytest.mark.parametrize("n", [100, 3000])
def test_a_bootstrap_of_many_draws_is_the_interval_of_theory(n):
    values = np.random.default_rng(0).exponential(size=n)
    low, high = bootstrap_mean(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / n**0.5, rel=0.1)


def test_a_bootstrap_of_sorted_items_is_that_of_any_order():
    values = np.arange(4000.0)
    low, high = bootstrap_mean(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 4000**0.5, rel=0.1)


def test_columns_are_drawn_alike_and_one_item_has_no_interval():
    values = np.random.default_rng(1).normal(size=(50, 2))
    low, high = bootstrap_mean(values)
    np.testing.assert_allclose((low[1], high[1]), bootstrap_mean(values[:, 1]))
    assert np.isnan(bootstrap_mean([1.0])).all() and low.shape == (2,)


@given(seed=seeds, n=hyp.integers(2, 40), k=hyp.integers(1, 5), within=hyp.booleans())
def test_a_difference_is_that_of_the_means_and_lies_in_its_interval(seed, n, k, within):
    rng = np.random.default_rng(seed)
    values, codes = rng.random(n), rng.integers(0, k, n)
    found, low, high = from_the_rest(values, codes, k, 0.95, within)
    for i in range(k):
        among = codes == i
        if among.all() or not among.any():
            assert np.isnan([found[i], low[i], high[i]]).all()
        else:
            assert found[i] == pytest.approx(values[among].mean() - values[~among].mean(), abs=1e-9)
            assert low[i] <= found[i] <= high[i]
    if k == 2 and not np.isnan(found).any():
        np.testing.assert_allclose(found[0], -found[1], atol=1e-9)
        np.testing.assert_allclose(low[0], -high[1], atol=1e-9)


HARMLESS = {
    "rare errors": (lambda rng, n: (rng.random(n) < 0.03).astype(float), True),
    "frequent errors": (lambda rng, n: (rng.random(n) < 0.4).astype(float), True),
    "squares": (lambda rng, n: rng.normal(size=n) ** 2, False),
    "heavy tails": (lambda rng, n: rng.standard_t(4, size=n) ** 2, False),
    "few large ones": (lambda rng, n: np.where(rng.random(n) < 0.01, 50.0, 0.1) * rng.random(n), False),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_groups_that_differ_by_chance_alone_are_seldom_told_apart(name):
    draw, within = HARMLESS[name]
    rng, n_runs, alarms = np.random.default_rng(0), 300, 0
    for _ in range(n_runs):
        sizes = rng.dirichlet(np.full(12, 0.7))
        codes = rng.choice(12, 1500, p=sizes)
        large = np.bincount(codes, minlength=12) >= 10
        _, low, high = from_the_rest(draw(rng, 1500), codes, 12, 1 - 0.05 / large.sum(), within)
        alarms += bool(((low > 0) | (high < 0))[large].any())
    assert alarms <= 0.08 * n_runs


def test_a_group_that_is_worse_is_told_apart():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 10, 2000)
    wrong = (rng.random(2000) < np.where(codes == 3, 0.3, 0.1)).astype(float)
    _, low, _ = from_the_rest(wrong, codes, 10, 1 - 0.05 / 10, True)
    assert np.flatnonzero(low > 0).tolist() == [3]
    _, low, _ = from_the_rest(rng.normal(0, np.where(codes == 3, 2, 1)) ** 2, codes, 10, 1 - 0.05 / 10, False)
    assert np.flatnonzero(low > 0).tolist() == [3]
