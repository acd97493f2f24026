"""The first layer's bias learns early in a short fit; then no gradient comes down to it."""

import numpy as np
import pytest
import torch

from tipsai import Callback
from tipsai.schedule import Cycle
from tipsai.vision import ImageDataLoaders, vision_learner
from tipsai.vision.models import PatchWhitening
from tipsai.vision.stem import EarlyStem


class Biases(Callback):
    """The first layer's bias after each epoch, and whether its output asked for a gradient in the epoch's last step."""

    def __init__(self):
        self.seen, self.reached = [], []

    def before_fit(self, st):
        self.stem = next(m for m in st.model.modules() if isinstance(m, PatchWhitening))
        self.hook = self.stem.register_forward_hook(self.note)

    def note(self, stem, x, out):
        self.asked = out.requires_grad if stem.training else self.asked

    def after_epoch(self, st):
        self.seen.append(self.stem.bias.detach().clone())
        self.reached.append(self.asked)

    def after_fit(self, st):
        self.hook.remove()


def made(**options):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (24, 8, 8), dtype=np.uint8)
    dls = ImageDataLoaders.from_arrays((pictures, rng.integers(0, 2, 24)), 0, bs=12)
    return vision_learner(dls, width=8, seed=0, device="cpu", callbacks=[Biases()], **options)


def bias_of(learn):
    return next(m for m in learn.model.modules() if isinstance(m, PatchWhitening)).bias


def test_it_learns_in_the_first_epochs_of_a_short_fit():
    learn = made()
    learn.fit_one_cycle(7, progress=False)
    biases = learn.callbacks[0]
    assert biases.reached == [True] * 2 + [False] * 5
    assert not torch.equal(biases.seen[0], biases.seen[1])
    assert all(torch.equal(later, biases.seen[1]) for later in biases.seen[2:])
    assert bias_of(learn).requires_grad


def test_it_learns_in_a_fit_of_one_epoch():
    """A share of one epoch was rounded to none."""
    learn = made()
    learn.fit_one_cycle(1, progress=False)
    assert learn.callbacks[0].reached == [True] and learn.callbacks[0].seen[0].abs().sum() > 0


def test_a_fit_that_is_lengthened_does_not_let_it_learn_again():
    def lengthen(self, st):
        if st.epoch == 4:
            st.n_epochs = 30

    learn = made()
    with pytest.raises(ZeroDivisionError):  # the loop's own length stays, and is not of interest here
        breaks = {"order": -1, "before_epoch": lengthen, "after_step": lambda self, st: 1 / 0 if st.epoch > 5 else None}
        learn.fit(7, callbacks=[type("Longer", (Callback,), breaks)()], progress=False)
    assert learn.callbacks[0].reached == [True] * 2 + [False] * (len(learn.callbacks[0].reached) - 2)
    assert not learn.callbacks[0].asked


def test_longer_fits_let_it_learn_throughout():
    learn = made()
    learn.fit(10, progress=False)
    seen = learn.callbacks[0].seen
    assert all(learn.callbacks[0].reached) and not torch.equal(seen[-2], seen[-1])


def test_a_bias_fixed_by_hand_stays_so():
    learn = made()
    bias_of(learn).requires_grad_(False)
    learn.fit(3, progress=False)
    assert not any(learn.callbacks[0].reached) and not bias_of(learn).requires_grad


def test_an_error_lets_it_learn_again():
    learn = made()
    breaks = {"after_step": lambda self, st: 1 / 0 if st.epoch > 3 else None}
    with pytest.raises(ZeroDivisionError):
        learn.fit(7, callbacks=[type("Bad", (Callback,), breaks)()], progress=False)
    assert not learn.callbacks[0].asked and bias_of(learn).requires_grad


def test_only_the_built_in_network_from_scratch_has_it(tmp_path):
    learn = made()
    assert [cb for cb in learn.callbacks if isinstance(cb, EarlyStem)]
    torch.save(learn.model.body.state_dict(), tmp_path / "body.pth")
    trained = made(weights=tmp_path / "body.pth")
    assert not [cb for cb in trained.callbacks if isinstance(cb, EarlyStem)] and trained.cycle == Cycle()


@pytest.mark.parametrize(("n_epochs", "peak", "moms"), [(9, 0.1, (0.8, 0.8)), (10, 0.25, (0.85, 0.95))])
def test_short_fits_rise_over_a_tenth_and_keep_momentum(n_epochs, peak, moms):
    learn = made()
    learn.fit_one_cycle(n_epochs, progress=False)
    rates = learn.recorder.lrs
    assert rates.index(max(rates)) / (len(rates) - 1) == pytest.approx(peak, abs=0.6 / (len(rates) - 1))
    assert (min(learn.recorder.moms), max(learn.recorder.moms)) == pytest.approx(moms, abs=0.01)
    assert "of fewer than 10 epochs: warm-up 10%, momentum 0.8" in learn.settings["schedule"].value


def test_adamw_rises_as_usual():
    assert made(opt="adamw").cycle == Cycle()
