"""Progressive resizing: small pictures first, whole ones in validation throughout."""

import numpy as np
import pytest

from tipsai import Callback
from tipsai.core.errors import SettingError
from tipsai.experiment import budget
from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner
from tipsai.vision.progressive import Progressive


class Sizes(Callback):
    def __init__(self):
        self.seen = []

    def before_batch(self, st):
        self.seen.append(tuple(st.batch.x[0].shape[2:]))


def made(**options):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (24, 16, 24), dtype=np.uint8)
    dls = ImageDataLoaders.from_arrays((pictures, rng.integers(0, 2, 24)), 0, bs=12, **options)
    return vision_learner(dls, width=8, seed=0, device="cpu", progressive=True, callbacks=[Sizes()])


@pytest.mark.parametrize("aug", ["auto", None, Augmentation(erase=0.5)])
def test_the_first_half_of_the_epochs_sees_smaller_pictures(aug):
    learn = made(aug=aug)
    learn.fit(4, progress=False)
    assert learn.callbacks[0].seen == [(12, 18)] * 4 + [(16, 24)] * 4
    assert learn.dls.augment.training is learn.dls.augment.plain
    assert next(learn.dls.feed("train", learn.device).batches()).x[0].shape[2:] == (16, 24)


def test_it_follows_the_data_to_another_size():
    learn = made()
    learn.dls = learn.dls.resized(32)
    learn.fit(2, progress=False)
    assert learn.callbacks[0].seen == [(24, 24)] * 2 + [(32, 32)] * 2


def test_an_error_leaves_the_whole_size():
    learn = made()
    with pytest.raises(ZeroDivisionError):
        learn.fit(4, callbacks=[type("Bad", (Callback,), {"after_step": lambda self, st: 1 / 0})()], progress=False)
    assert learn.dls.augment.training is learn.dls.augment.plain


def test_time_budgets_measure_both_sizes(monkeypatch):
    learn = made()
    monkeypatch.setattr(budget, "_timed", lambda step, st, batches, measuring: float(next(batches).x[0][0, 0].numel()))
    assert budget.seconds_a_step(learn, 1.0) == pytest.approx(budget.OTHER * (12 * 18 + 16 * 24) / 2)
    assert learn.dls.augment.training is learn.dls.augment.plain


def test_a_budget_that_ends_in_an_error_leaves_the_whole_size(monkeypatch):
    learn = made()
    monkeypatch.setattr(budget, "_timed", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        budget.seconds_a_step(learn, 1.0)
    assert learn.dls.augment.training is learn.dls.augment.plain


@pytest.mark.parametrize("name", ["scale", "share"])
def test_shares_out_of_range_are_refused(name):
    with pytest.raises(SettingError, match=f"{name} is 1.5"):
        Progressive(lambda: None, **{name: 1.5})


def test_the_figures_of_a_run_see_pictures_as_evaluation_does():
    learn = made()
    learn.fit(1, progress=False)
    assert learn.results()["train_loss"] > 0
