import math
import os
import random

import numpy as np
import pytest
import torch
from helpers import At, Boom, boom, copied, dataloaders, learner, mlp, same
from hypothesis import given
from hypothesis import strategies as hyp

from tipsai.container import pack
from tipsai.core.errors import SettingError
from tipsai.lr_find import longest_fall, suggest


def _everything(learn):
    tensors = {}
    opt = pack(learn.opt.state_dict(), tensors) if learn.opt else None
    return (
        {name: t.tolist() for name, t in copied(learn.model).items()},
        (opt, {name: t.tolist() for name, t in tensors.items()}),
        [m.training for m in learn.model.modules()],
        [None if p.grad is None else p.grad.tolist() for p in learn.model.parameters()],
        (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        (learn.history, list(learn.recorder.losses), learn.n_steps, learn.n_fits),
    )


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_search_leaves_everything_as_it_was(fitted, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learn = learner(model=mlp(dropout=0.3, norm=True))
    learn.model[2].eval()
    if fitted:
        learn.fit(1, progress=False)
    before = _everything(learn)
    if fails:
        hook = learn.model[0].register_forward_hook(lambda *args: boom() if random.random() < 0.2 else None)
        with pytest.raises(Boom):
            learn.lr_find()
        hook.remove()
    else:
        learn.lr_find()
    assert _everything(learn) == before and os.listdir() == []


def test_training_after_a_search_is_as_if_there_had_been_none():
    searched, plain = learner(model=mlp(dropout=0.3)), learner(model=mlp(dropout=0.3))
    searched.lr_find()
    for learn in (searched, plain):
        learn.fit_one_cycle(2, progress=False)
    assert same(copied(searched.model), copied(plain.model))


def test_a_search_can_be_repeated():
    learn = learner(model=mlp(dropout=0.3))
    assert learn.lr_find().losses == learn.lr_find().losses


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_suggestions_are_rates_that_train(opt):
    learn = learner(dataloaders(960, 32), mlp(), opt=opt, metrics="accuracy")
    found = learn.lr_find()
    assert 1e-4 < found.valley < 1 and 1e-4 < found.steepest < 3 and 1e-4 < found.minimum < 1
    assert len(found.lrs) == len(found.losses) <= 100 and found.lrs == sorted(found.lrs)
    assert found.lrs[0] == pytest.approx(1e-7)
    start = learn.validate()["valid_loss"]
    for lr, share in ((found.valley, 0.97), (found.steepest, 0.5), (found.minimum, 0.5)):
        learn = learner(dataloaders(960, 32), mlp(), opt=opt)
        learn.fit_one_cycle(3, lr, progress=False)
        assert learn.history[-1]["valid_loss"] < share * start


def test_a_search_ends_where_the_loss_explodes():
    found = learner(opt="sgd").lr_find(end=1e6)
    assert found.lrs[-1] < 1e4 and all(map(math.isfinite, found.losses))


def test_accumulation_takes_several_batches_a_rate():
    seen = []
    learn = learner(dataloaders(90))
    learn.model.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    learn.lr_find(n_steps=10, accumulate=4)
    assert seen[:6] == [16] * 5 + [10]


def test_a_plot_shows_the_course_and_the_suggestions(tmp_path):
    found = learner(dataloaders(960, 32)).lr_find()
    figure = found.plot()
    (axis,) = figure.axes
    assert axis.get_xscale() == "log" and list(axis.lines[0].get_xdata()) == found.lrs
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels[0] == f"valley: {found.valley:.2g}" and len(labels) == 3
    figure.savefig(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 5000


@pytest.mark.parametrize("arguments", [{"start": 0}, {"start": 1, "end": 0.1}, {"n_steps": 9}])
def test_rates_out_of_order_are_refused(arguments):
    with pytest.raises(SettingError, match="expected 0 < start < end and at least 10 steps"):
        learner().lr_find(**arguments)


def test_inputs_that_break_every_loss_are_an_error_that_says_so():
    learn = learner(callbacks=[At(0, None)])
    learn.dls.train.rows.x[0][:] = math.inf
    with pytest.raises(SettingError, match="only 0 rates gave a finite loss; start lower, or look for huge values"):
        learn.lr_find()
    assert all(t.isfinite().all() for t in learn.model.state_dict().values())


def test_marks_are_read_off_a_curve_by_their_definitions():
    lrs = [10 ** (-5 + i / 10) for i in range(50)]
    losses = [1.0 + 0.001 * i for i in range(10)] + [1.0 - 0.03 * i for i in range(30)] + [0.2 + i for i in range(10)]
    found = suggest(lrs, losses)
    assert found.valley == lrs[(13 + 39) // 2] and found.minimum == pytest.approx(lrs[39] / 10)
    assert lrs[10] <= found.steepest <= lrs[39]


@given(values=hyp.lists(hyp.integers(0, 9), min_size=1, max_size=9))
def test_the_longest_fall_is_as_long_as_any(values):
    def longest(i):
        return 1 + max((longest(j) for j in range(i + 1, len(values)) if values[j] < values[i]), default=0)

    first, last = longest_fall(values)
    inside = [v for v in values[first : last + 1] if values[last] <= v <= values[first]]
    assert longest(first) == max(longest(i) for i in range(len(values)))
    assert first == last or (values[first] > values[last] and len(inside) >= longest(first))
