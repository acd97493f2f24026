"""A run that was stopped anywhere goes on as if it never had been: bit for bit, weights and history."""

import multiprocessing
import os
import random
import time

import helpers
import pytest
import torch
from helpers import At, Boom, boom, copied, dataloaders, learner, mlp, same
from hypothesis import Phase, given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import EMA, CategoryBlock, DataLoaders, EarlyStopping, KeepBest, MixUp, container
from tipsai.core import loop


@pytest.fixture(autouse=True)
def checkpoints_everywhere(monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)


KINDS = {
    "plain": {},
    "sgd": {"opt": "sgd"},
    "a function": {"opt": torch.optim.RAdam},
    "averages": {"callbacks": lambda: [EMA(0.9)], "final": "ema"},
    "best": {"final": "best"},
    "best averages": {"callbacks": lambda: [EMA(0.9)], "final": "best"},
    "early stopping": {"callbacks": lambda: [EarlyStopping("valid_accuracy", 1, min_delta=0.2)]},
    "kept and mixed": {"callbacks": lambda: [KeepBest(), MixUp(CategoryBlock(range(3)))]},
    "accumulation": {"accumulate": 2},
    "no clipping": {"clip": None},
    "bf16": {"precision": "bf16"},
    "class weights": {"loss_fn": lambda: nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]))},
}
OF_FIT = {"final", "accumulate", "clip"}
N_EPOCHS = 2.5  # of 6 batches: 15 steps; 8 with two batches a step


def _run(kind, path=None, stop=None, learn=None):
    """A run of one kind; returns its learner. `stop` is a callback that ends it early."""
    options = {name: v() if callable(v) and name != "opt" else v for name, v in KINDS[kind].items()}
    if learn is None:
        made = {name: v for name, v in options.items() if name not in OF_FIT}
        learn = learner(dataloaders(90), mlp(dropout=0.3, norm=True), metrics="accuracy", **made)
    try:
        learn.fit_one_cycle(
            N_EPOCHS,
            progress=False,
            callbacks=[stop or At(0, None)],
            **({"checkpoint": path, "checkpoint_seconds": 0, "resume": True} if path else {}),
            **{name: v for name, v in options.items() if name in OF_FIT},
        )
    except Boom:
        pass
    return learn


_whole = {}


def whole(kind):
    if kind not in _whole:
        _whole[kind] = _run(kind)
    return _whole[kind]


def _interrupt(st):
    st.stop_reason = "interrupted"


@pytest.mark.parametrize("kind", KINDS)
@given(
    stops=hyp.lists(
        hyp.tuples(
            hyp.integers(1, 15),
            hyp.sampled_from([boom, _interrupt]),
            hyp.sampled_from(["before_batch", "after_backward", "after_step", "after_epoch"]),
        ),
        min_size=1,
        max_size=3,
    ),
    one_process=hyp.booleans(),
)
@settings(
    deadline=None, max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # shrinking takes minutes
def test_a_run_stopped_anywhere_any_number_of_times_ends_the_same(tmp_path_factory, kind, stops, one_process):
    path = tmp_path_factory.mktemp("resume") / "c.tips"
    learn = None
    for step, how, event in stops:
        learn = _run(kind, path, At(step, how, event, order=200), learn if one_process else None)
        if learn.n_fits or not path.exists():
            learn = None  # it was done, or has nothing to go on from; a fresh learner takes over
    learn = _run(kind, path, None, learn if one_process else None)
    expected = whole(kind)
    assert same(copied(learn.model), copied(expected.model)) and learn.history == expected.history
    assert list(learn.recorder.losses) == list(expected.recorder.losses)
    assert learn.recorder.clipped_share == expected.recorder.clipped_share


def test_a_stop_between_the_last_step_and_its_validation_loses_nothing(tmp_path):
    class Breaks(At):
        def after_log(self, st):
            if st.step == st.n_steps:
                boom()

    expected = whole("plain")
    learn = _run("plain", tmp_path / "c.tips", Breaks(0, None, order=200))
    assert len(learn.history) == 2
    quiet = type("Breaks", (At,), {})(0, None)
    again = _run("plain", tmp_path / "c.tips", quiet)
    assert again.history == expected.history and same(copied(again.model), copied(expected.model))


class Counted(torch.utils.data.Dataset):
    """A data set that notes what is read of it, and whose items are random."""

    def __init__(self, n=90):
        self.x, self.y = helpers.classes(n)
        self.read = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.read.append(i)
        return self.x[i] + torch.rand(5) + random.random(), self.y[i]


def _items(data):
    return learner(DataLoaders.from_datasets(data, bs=16), mlp(dropout=0.3))


def test_skipping_ahead_reads_no_data_and_items_are_drawn_by_position(tmp_path):
    straight = _items(Counted())
    straight.fit(3, callbacks=[At(0, None)], progress=False)
    options = {"checkpoint": tmp_path / "c.tips", "checkpoint_seconds": 0, "resume": True, "progress": False}
    with pytest.raises(Boom):
        _items(Counted()).fit(3, callbacks=[At(9, boom, order=200)], **options)  # the last checkpoint is step 8's
    data = Counted()
    resumed = _items(data)
    data.read.clear()
    resumed.fit(3, callbacks=[At(0, None)], **options)
    assert len(data.read) == (90 - 2 * 16) + 90
    assert same(copied(resumed.model), copied(straight.model))


def test_a_loader_that_cannot_skip_says_so(tmp_path):
    x, y = helpers.classes(64)

    def foreign():
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
        return learner(DataLoaders.from_loaders(loader))

    options = {"checkpoint": tmp_path / "c.tips", "checkpoint_seconds": 0, "resume": True, "progress": False}
    with pytest.raises(Boom):
        foreign().fit(2, callbacks=[At(3, boom, order=200)], **options)
    with pytest.warns(UserWarning, match="cannot start in the middle: its first batches are read and thrown away"):
        foreign().fit(2, callbacks=[At(0, None)], **options)


@pytest.mark.parametrize("step", [3, 6, 7, 14, 18])
def test_fine_tuning_goes_on_in_the_phase_it_was_stopped_in(tmp_path, step):
    def tuned(stop=None, **options):
        learn = learner(model=mlp(dropout=0.3), splitter=lambda m: [list(m[0].parameters()), list(m[1:].parameters())])
        count = 0

        class Stop(At):
            def after_step(self, st):
                nonlocal count
                count += 1
                if count == stop:
                    boom()

        try:
            learn.fine_tune(2, callbacks=[Stop(0, None, order=200)], progress=False, **options)
        except Boom:
            pass
        return learn

    options = {"checkpoint": tmp_path / "c.tips", "checkpoint_seconds": 0, "resume": True}
    expected = tuned()
    tuned(step, **options)
    learn = tuned(**options)
    assert same(copied(learn.model), copied(expected.model)) and learn.history == expected.history


def test_a_later_fit_does_not_take_over_what_an_earlier_one_left(tmp_path):
    options = {"checkpoint": tmp_path / "c.tips", "resume": True, "progress": False}
    saved, plain = learner(), learner()
    for learn, chosen in ((saved, options), (plain, {"progress": False})):
        learn.fit(1, **chosen)
        learn.fit(2, **chosen)
    assert len(saved.history) == 3 and same(copied(saved.model), copied(plain.model))


def _killed_until_done(folder, n_kills, n_epochs, seed):
    """Kills the run at random moments, n_kills times, lets it end, and returns its weights, history and where it began."""
    context = multiprocessing.get_context("forkserver")  # which has imported torch once for all of them
    context.set_forkserver_preload(["tipsai.learner", "tipsai.callbacks", "safetensors.torch", "helpers"])
    path, done, draw = folder / "c.tips", folder / "done.tips", random.Random(seed)
    began = []
    for kill in [True] * n_kills + [False]:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=helpers.killable, args=(path, done, theirs.send, n_epochs))
        child.start()
        theirs.close()
        assert ours.poll(60)
        began.append(ours.recv())
        if kill:
            time.sleep(draw.uniform(0, 0.15))
            child.kill()
        child.join(120)
        assert child.exitcode == (-9 if kill else 0)
        if path.exists():
            container.read(path)  # whole, whenever it is looked at
    documents, groups = container.read(done)
    return groups["model"], documents["history"], began


def _straight(folder, n_epochs):
    helpers.killable(None, folder / "done.tips", lambda step: None, n_epochs)
    documents, groups = container.read(folder / "done.tips")
    return groups["model"], documents["history"]


@pytest.mark.parametrize(("n_kills", "n_epochs"), [(5, 60), pytest.param(50, 400, marks=pytest.mark.slow)])
def test_a_process_killed_at_random_moments_ends_with_the_same_weights(tmp_path, n_kills, n_epochs):
    for name in ("straight", "killed"):
        os.mkdir(tmp_path / name)
    weights, history = _straight(tmp_path / "straight", n_epochs)
    found, rows, began = _killed_until_done(tmp_path / "killed", n_kills, n_epochs, seed=n_kills)
    assert began == sorted(began) and 0 < began[-1] < 3 * n_epochs  # it went on, and was not done before
    assert same(found, weights) and rows == history
