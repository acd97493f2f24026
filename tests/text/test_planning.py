import numpy as np
import pytest

from tipsai.core.errors import SettingError
from tipsai.text import planning
from tipsai.text.defaults import shape
from tipsai.text.planning import plan, scaling_fit


@pytest.fixture
def pace(monkeypatch):
    monkeypatch.setattr(planning, "flops_per_second", lambda *args: 1e11)


def test_of_a_size_the_tokens_follow(pace):
    made = plan(1e6)
    assert (made.n_tokens, made.flops) == (2e7, pytest.approx(1.2e14))
    assert made.hours == pytest.approx(1.2e14 / 1e11 / 3600)
    assert "1e+06 parameters on 2e+07 tokens: 1.2e+14 FLOPs, 0.333 hours" in str(made)


@pytest.mark.parametrize(
    "given", [{"flops": 1.2e14}, {"hours": 1 / 3}, {"n_tokens": 2e7}, {"n_parameters": 1e6, "hours": 1 / 3}]
)
def test_every_way_leads_to_the_same_plan(pace, given):
    made = plan(**given)
    assert (made.n_parameters, made.n_tokens) == (pytest.approx(1e6), pytest.approx(2e7))


def test_two_fix_the_third(pace):
    made = plan(flops=6e12, n_tokens=1e6)
    assert made.n_parameters == pytest.approx(1e6)


@pytest.mark.parametrize(
    "given", [{}, {"flops": 1e9, "hours": 1}, {"n_parameters": 1e6, "flops": 1e9, "n_tokens": 1e6}]
)
def test_too_little_and_too_much_are_refused(pace, given):
    with pytest.raises(SettingError, match="give one, or two"):
        plan(**given)
    with pytest.raises(SettingError, match="flops is -1"):
        plan(flops=-1)


def test_shapes_have_about_the_parameters():
    for size in np.geomspace(1e5, 1e9, 40):
        n_layers, width = shape(size)
        assert 0.7 < 10 * n_layers * width**2 / size < 1.4 and width % 64 == 0


def test_the_pace_is_measured():
    assert 1e7 < planning.flops_per_second(1e4, "cpu", seconds=0.1) < 1e13


def curve(c):
    return 1.5 + 400 * c**-0.2


def test_a_curve_is_found_again():
    computes = np.geomspace(1e12, 1e15, 8)
    fit = scaling_fit([(c, curve(c)) for c in computes])
    loss, low, high = fit.predict(1e16)
    assert loss == pytest.approx(curve(1e16), abs=0.01) and low <= loss <= high and high - low < 0.05
    assert fit.exponent == pytest.approx(0.2, rel=0.1)


def test_noise_widens_the_interval_which_holds_the_truth():
    computes = np.geomspace(1e12, 1e15, 8)
    held, widths = 0, []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.03, 8)
        loss, low, high = scaling_fit([(c, curve(c) + e) for c, e in zip(computes, noise, strict=True)]).predict(3e15)
        widths.append(high - low)
        held += low <= curve(3e15) <= high
    assert held >= 16 and 0.06 < np.mean(widths) < 0.2


def test_tasks_and_too_few_runs_are_declined():
    runs = [(1e12, 3.0), (1e13, 2.5), (1e14, 2.2), (1e15, 2.0)]
    with pytest.raises(SettingError, match=r"metric is 'accuracy': tasks scale unpredictably.*\(LM04\)"):
        scaling_fit(runs, metric="accuracy")
    with pytest.raises(SettingError, match="runs holds 3 pairs; expected four"):
        scaling_fit(runs[:3])
    with pytest.raises(SettingError, match="less than ten times in compute"):
        scaling_fit([(c, loss) for c, (_, loss) in zip((1e12, 2e12, 3e12, 4e12), runs, strict=True)])
