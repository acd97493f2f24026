import math

import pytest
from helpers import At, copied, dataloaders, learner, same

from tipsai import EMA, EarlyStopping, KeepBest
from tipsai.core.errors import SettingError
from tipsai.metrics import FunctionMetric


class Course(FunctionMetric):
    """A metric that takes given values, one an evaluation."""

    name = "course"

    def __init__(self, values, higher_is_better=None):
        super().__init__(None, higher_is_better)
        self.values = iter(values)

    def compute(self):
        return next(self.values)


def course(values, higher_is_better=None, **options):
    return learner(metrics=[Course(values, higher_is_better)], **options)


@pytest.mark.parametrize(
    ("values", "rising", "min_delta", "n_epochs"),
    [
        ([1, 2, 3, 3, 2, 9], True, 0, 5),
        ([3, 2, 1, 1, 2, 0], False, 0, 5),
        ([3, 2.9, 2.8, 0], False, 0.5, 3),
        ([math.nan, math.nan, 1], True, 0, 2),
        ([1, 2, 3, 4, 5, 6], True, 0, 6),
    ],
)
def test_stops_after_patience_epochs_without_improvement(values, rising, min_delta, n_epochs):
    learn = course(values)
    stopper = EarlyStopping("valid_course", 2, higher_is_better=rising, min_delta=min_delta)
    learn.fit(6, callbacks=[stopper], progress=False)
    assert len(learn.history) == n_epochs
    assert ("valid_course has not improved for 2 epochs" in learn.stop_reason) == (n_epochs < 6)


def test_the_reason_names_the_best_figure_and_its_epoch():
    learn = course([5, 7, 6, 6.5])
    learn.fit(9, callbacks=[EarlyStopping("valid_course", 2)], progress=False)
    assert learn.stop_reason == "valid_course has not improved for 2 epochs; its best was 7 in epoch 2"


def test_a_second_fit_has_its_own_patience():
    learn = course([5, 4, 3, 2, 1, 0], callbacks=[EarlyStopping("valid_course", 2)])
    learn.fit(3, progress=False)
    learn.fit(3, progress=False)
    assert len(learn.history) == 5


@pytest.mark.parametrize("given", ["callback", "argument"])
def test_final_best_takes_over_the_weights_of_the_best_epoch(given):
    learn, kept = course([1, 3, 2], True), []
    watch = [At(12, lambda st: kept.append(copied(st.model)), "after_epoch")]
    if given == "callback":
        learn.fit(3, final="best", callbacks=[*watch, KeepBest("valid_course")], progress=False)
    else:
        learn.fit(3, final="best", monitor="valid_course", callbacks=watch, progress=False)
    assert same(copied(learn.model), kept[0])


def test_a_metric_says_itself_whether_it_should_rise():
    learn, kept = course([3, 1, 2], False), []
    watch = [At(12, lambda st: kept.append(copied(st.model)), "after_epoch")]
    learn.fit(3, final="best", monitor="valid_course", callbacks=watch, progress=False)
    assert same(copied(learn.model), kept[0])


def test_final_best_with_averages_keeps_the_averages_that_were_best():
    learn = course([1, 3, 2], True, callbacks=[EMA(0.9)])
    learn.fit(3, final="best", monitor="valid_course", progress=False)
    learn.metrics.clear()
    assert learn.validate()["valid_loss"] == learn.history[1]["valid_loss"]


def test_final_last_keeps_the_last_weights_beside_keep_best():
    plain, watched = learner(), learner(callbacks=[KeepBest()])
    for learn in (plain, watched):
        learn.fit(2, progress=False)
    assert same(copied(plain.model), copied(watched.model))


@pytest.mark.parametrize("kind", [EarlyStopping, KeepBest])
def test_a_training_figure_is_refused(kind):
    with pytest.raises(SettingError, match=r"monitor is 'train_objective'.*valid_ figure \(TR22\)"):
        kind("train_objective")


def test_an_unknown_figure_names_the_nearest():
    with pytest.raises(SettingError, match="no figure 'valid_acuracy'.*mean 'valid_accuracy'.*'train_objective'"):
        learner(metrics="accuracy").fit(1, callbacks=[KeepBest("valid_acuracy")], progress=False)


def test_without_validation_data_the_error_says_so():
    with pytest.raises(SettingError, match="There is no validation data"):
        learner(dataloaders(n_valid=0)).fit(1, final="best", progress=False)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("valid_loss", -1),
        ("valid_error_rate", -1),
        ("valid_mean_squared_error", -1),
        ("valid_bits_per_byte", -1),
        ("valid_perplexity", -1),
        ("valid_accuracy", 1),
        ("valid_roc_auc", 1),
        ("valid_r2", 1),
    ],
)
def test_losses_and_errors_should_fall_and_other_figures_rise(name, sign):
    assert KeepBest(name).sign == sign


@pytest.mark.parametrize(
    ("options", "says"), [({"patience": 0}, "patience is 0"), ({"min_delta": -1}, "min_delta is -1")]
)
def test_settings_out_of_range_are_refused(options, says):
    with pytest.raises(SettingError, match=says):
        EarlyStopping(**options)
