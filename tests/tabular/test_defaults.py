from hypothesis import given
from hypothesis import strategies as hyp

from tipsai.frame.targets import valid_share
from tipsai.tabular import defaults

ROWS = hyp.integers(2, 10_000_000)


@given(n=ROWS)
def test_the_rules_stay_within_their_bounds_and_follow_the_rows(n):
    assert 32 <= defaults.batch_size(n) <= 1024 and defaults.batch_size(n) <= defaults.batch_size(2 * n)
    assert 32 <= defaults.for_table(n, 10).n_bins <= 128
    for task in ("regression", "classification", "multilabel"):
        assert 1 <= defaults.n_epochs(n, task) <= 30
        small = task == "regression" and n < 3000  # a network soon knows a small table of numbers by heart
        assert small or defaults.n_epochs(n, task) >= defaults.n_epochs(2 * n, task)
    assert valid_share(n) in (0.1, 0.2)


def test_small_tables_of_numbers_get_fewer_epochs():
    assert [defaults.n_epochs(n, "regression") for n in (2, 330, 1000, 3000, 10_000)] == [10, 12, 16, 30, 30]


@given(n=ROWS, columns=hyp.integers(0, 20_000))
def test_wide_tables_get_fewer_bins(n, columns):
    bins = defaults.for_table(n, columns).n_bins
    assert bins == 8 or bins * columns <= 16_384


def test_many_categories_for_the_rows_halve_a_classifier_s_epochs():
    assert defaults.n_epochs(10_000, "classification", 501) * 2 == defaults.n_epochs(10_000, "classification", 500)
    assert defaults.n_epochs(10_000, "regression", 501) == defaults.n_epochs(10_000, "regression", 500)


@given(n=hyp.integers(1, 10**10))
def test_the_peak_rate_falls_with_the_size_of_the_network(n):
    assert 3e-4 <= defaults.peak_lr(2 * n) <= defaults.peak_lr(n) <= 9e-3
