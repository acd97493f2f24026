"""The figures of groups: what agrees by chance, by a trend, and because the rows belong together."""

import numpy as np
import pytest
import torch

from tipsai.tabular.groups import agreement, by_chance, centred, inputs_alike, without_trend

RNG = np.random.default_rng(0)
GROUP = np.repeat(np.arange(100), 6)


def column(values):
    return (values - values.mean())[:, None]


def test_agreement_is_the_intraclass_correlation():
    level, noise = RNG.normal(0, 3**0.5, 100)[GROUP], RNG.normal(0, 1, 600)
    assert agreement(column(level), GROUP) == pytest.approx(1.0, abs=0.02)
    assert agreement(column(level + noise), GROUP) == pytest.approx(0.75, abs=0.06)
    assert agreement(column(noise), GROUP) == pytest.approx(0.0, abs=0.05)


def test_groups_of_one_row_have_no_agreement():
    assert agreement(column(RNG.normal(size=50)), np.arange(50)) == 0.0


def test_chance_is_what_permuted_rows_give():
    y = column(RNG.normal(0, 1, 100)[GROUP] + RNG.normal(0, 1, 600))
    chance = by_chance(y, GROUP, float((y**2).mean()))
    assert abs(chance.mean()) < 0.02 and chance.max() < 0.15 < agreement(y, GROUP)


@pytest.mark.parametrize(
    "function", [lambda v: v, lambda v: v**2 / 30, lambda v: 20 * np.sin(v / 8)], ids=["line", "square", "wave"]
)
def test_a_smooth_function_of_a_number_is_no_group(function):
    values = RNG.integers(0, 100, 600).astype(float)
    y = column(function(values) + RNG.normal(0, 3, 600))
    group = np.unique(values, return_inverse=True)[1]
    variance = float((y**2).mean())
    assert agreement(y, group) > 0.5
    assert agreement(without_trend(y, values), group, variance) < 0.1


def test_a_level_of_each_number_stays():
    y = column(RNG.normal(0, 2, 100)[GROUP] + RNG.normal(0, 1, 600))
    assert agreement(without_trend(y, GROUP.astype(float)), GROUP, float((y**2).mean())) > 0.6


@pytest.mark.parametrize(
    "y, width",
    [
        (torch.randint(3, (50,)), 3),
        (torch.rand(50, 2), 2),
        (torch.rand(50, 4) > 0.5, 4),
        (torch.randint(40, (500,)), 20),
    ],
    ids=["classes", "numbers", "labels", "many classes"],
)
def test_targets_of_every_kind_become_columns_of_mean_0(y, width):
    made = centred(y)
    assert made.shape == (len(y), width) and np.allclose(made.mean(0), 0)


def test_equal_numbers_have_equal_ranks():
    made = centred(torch.tensor([[5.0], [1.0], [5.0], [9.0], [1.0]]))[:, 0]
    assert made[0] == made[2] and made[1] == made[4] and made[1] < made[0] < made[3]


def test_inputs_that_stay_within_a_group_are_near():
    own, other = torch.randn(100, 3)[GROUP], torch.randn(600, 3)
    codes = torch.zeros(600, 0, dtype=torch.int32)
    assert inputs_alike(own, codes, GROUP) == 0.0
    assert inputs_alike(other, codes, GROUP) == pytest.approx(1.0, abs=0.1)
    assert inputs_alike(torch.cat([own, other], 1), torch.randint(3, (600, 1)), GROUP) == pytest.approx(0.55, abs=0.1)
