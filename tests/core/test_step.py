import math

import pytest
import torch
from helpers import At, copied, dataloaders, learner, mlp, same
from hypothesis import given, settings
from hypothesis import strategies as hyp
from torch import nn

from tipsai import Batch, TrainState
from tipsai.core.callback import bind
from tipsai.core.errors import SettingError
from tipsai.core.fetch import fetch
from tipsai.core.step import Step, clip_gradients, resolve_precision
from tipsai.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

C, T = 4, 3  # classes, tokens a row


class Tokens(nn.Module):
    """Logits [b, C, t] from inputs [b, t, 5]."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, C)

    def forward(self, x):
        return self.head(x).transpose(1, 2)


def _rows(n, g, *shape):
    return torch.randn(n, *shape, generator=g, dtype=torch.float64)


def _weighted_classes(n, g):
    return Batch((_rows(n, g, 5),), (torch.randint(0, C, (n,), generator=g),))


def _ignored_classes(n, g):
    y = torch.randint(0, C, (n,), generator=g)
    return Batch((_rows(n, g, 5),), (torch.where(torch.rand(n, generator=g) < 0.5, -100, y),))


def _tokens(n, g):
    y = torch.randint(0, C, (n, T), generator=g)
    y[torch.rand(n, generator=g) < 0.4] = -100  # whole rows, and so now and then a whole micro-batch
    return Batch((_rows(n, g, T, 5),), (torch.where(torch.rand(n, T, generator=g) < 0.3, -100, y),))


def _weighted_rows(n, g):
    weight = torch.rand(n, generator=g, dtype=torch.float64) + 0.1
    return Batch((_rows(n, g, 5),), (_rows(n, g, C), weight))


def _yes_no(n, g):
    return Batch((_rows(n, g, 5),), (torch.rand(n, C, generator=g) < 0.5,))


W = torch.tensor([0.3, 1.0, 2.5, 4.0], dtype=torch.float64)
CASES = {
    "class weights": (CrossEntropy(W), lambda: nn.Linear(5, C), _weighted_classes),
    "class weights and smoothing": (CrossEntropy(W, 0.1), lambda: nn.Linear(5, C), _weighted_classes),
    "ignored rows": (CrossEntropy(), lambda: nn.Linear(5, C), _ignored_classes),
    "ignored tokens": (CrossEntropy(), Tokens, _tokens),
    "ignored tokens and class weights": (CrossEntropy(W), Tokens, _tokens),
    "row weights": (MeanSquaredError(), lambda: nn.Linear(5, C), _weighted_rows),
    "yes and no": (BinaryCrossEntropy(W), lambda: nn.Linear(5, C), _yes_no),
}


def _after_step(model, loss, group):
    opt = torch.optim.SGD(model.parameters(), lr=1.0)
    st = TrainState(model, opt, loss, torch.device("cpu"), 0, 1, 1, 1, clip=None)
    Step()(st, group, bind(()))
    fetch(st)
    return copied(model), st.losses[0], st.objective_weight


@pytest.mark.parametrize("case", CASES)
@given(sizes=hyp.lists(hyp.integers(1, 5), min_size=2, max_size=4), seed=hyp.integers(0, 2**20))
@settings(deadline=None, max_examples=25)
def test_an_accumulated_group_moves_weights_as_one_large_batch(case, sizes, seed):
    loss, make, draw = CASES[case]
    whole = draw(sum(sizes), torch.Generator().manual_seed(seed))
    xs, ys = whole.x[0].split(sizes), [y.split(sizes) for y in whole.y]
    group = [Batch((xs[i],), tuple(y[i] for y in ys)) for i in range(len(sizes))]
    model = make().double()
    start = copied(model)
    large = _after_step(model, loss, [whole])
    model.load_state_dict(start)
    small = _after_step(model, loss, group)
    for name in start:
        torch.testing.assert_close(small[0][name], large[0][name], rtol=1e-6, atol=1e-7)
    assert small[1:] == pytest.approx(large[1:], rel=1e-6)
    assert math.isfinite(small[1])


@pytest.mark.parametrize("n", [96, 90, 70])  # even, ragged last batch, ragged last group
def test_a_fit_with_accumulation_is_the_fit_with_the_large_batch(n):
    found = []
    for bs, accumulate in ((30, 1), (10, 3)):
        learn = learner(dataloaders(n, bs, dtype=torch.float64), mlp().double(), loss_fn=CrossEntropy(W[:3]))
        learn.fit_one_cycle(3, accumulate=accumulate, progress=False)
        found.append((copied(learn.model), learn.history, learn.n_steps))
    (large, rows, n_steps), (small, rows_small, n_steps_small) = found
    assert n_steps == n_steps_small == 3 * math.ceil(n / 30)
    for name in large:
        torch.testing.assert_close(small[name], large[name], rtol=1e-6, atol=1e-8)
    for a, b in zip(rows, rows_small, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


def test_a_batch_in_which_nothing_counts_moves_nothing():
    model = nn.Linear(5, C).double()
    start = copied(model)
    batch = Batch((torch.randn(2, 5, dtype=torch.float64),), (torch.full((2,), -100),))
    after, loss, weight = _after_step(model, CrossEntropy(), [batch])
    assert same(after, start) and (loss, weight) == (0.0, 0.0)


@pytest.mark.parametrize("event", ["before_batch", "after_backward"])
def test_skip_step_leaves_out_exactly_that_step(event):
    seen = []

    class Watch(At):
        order = 10

        def after_step(self, st):
            seen.append(copied(st.model))

    learn = learner(opt="sgd", lr=0.1)
    learn.fit(1, callbacks=[At(3, lambda st: setattr(st, "skip_step", True), event), Watch(0, None)], progress=False)
    moved = [not same(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert moved == [True, False, True, True, True]


def test_compute_loss_and_output_take_their_places():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return {"logits": self.net(x)}

    def own(model, batch):
        return nn.functional.cross_entropy(model(*batch.x)["logits"], batch.y[0])

    def own_sums(model, batch):
        return nn.functional.cross_entropy(model(*batch.x)["logits"], batch.y[0], reduction="sum"), batch.n_rows

    found = []
    for model, options in (
        (mlp(), {}),
        (Wrapped(), {"output": lambda out: out["logits"]}),
        (Wrapped(), {"compute_loss": own}),
        (Wrapped(), {"compute_loss": own_sums}),
    ):
        learn = learner(dataloaders(90), model, **options)
        learn.fit(2, progress=False)
        found.append(learn.history)
    for history in found[1:]:
        assert [row["valid_loss"] for row in history] == pytest.approx(
            [row["valid_loss"] for row in found[0]], rel=1e-5
        )


def test_clipping_bounds_the_gradient_and_its_share_is_recorded():
    norms, clipped = [], []

    class ByHand(At):
        def after_backward(self, st):
            norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in st.model.parameters())))

        def after_step(self, st):
            clipped.append(math.sqrt(sum(float(p.grad.square().sum()) for p in st.model.parameters())))

    learn = learner(dataloaders(bs=8))
    learn.fit(2, clip=0.6, callbacks=[ByHand(0, None)], progress=False)
    assert list(learn.recorder.norms) == pytest.approx(norms, rel=1e-5)
    assert clipped == pytest.approx([min(norm, 0.6) for norm in norms], rel=1e-4)
    share = sum(norm > 0.6 for norm in norms) / len(norms)
    assert 0 < share < 1 and learn.recorder.clipped_share == share


def test_without_clipping_gradients_stay_as_they_are():
    seen = []

    class ByHand(At):
        def after_backward(self, st):
            seen.append([p.grad.clone() for p in st.model.parameters()])

        def after_step(self, st):
            assert all(torch.equal(a, p.grad) for a, p in zip(seen[-1], st.model.parameters(), strict=True))

    learn = learner()
    learn.fit(1, clip=None, callbacks=[ByHand(0, None)], progress=False)
    assert len(seen) == 6 and not learn.recorder.norms and learn.recorder.clipped_share == 0


def test_bf16_trains_a_toy_on_a_cpu():
    learn = learner(precision="bf16", metrics="accuracy")
    seen = []
    hook = learn.model[0].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    learn.fit_one_cycle(15, 0.05, progress=False)
    hook.remove()
    assert set(seen) == {torch.bfloat16} and learn.history[-1]["valid_accuracy"] > 0.8
    assert learn.get_preds()[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "says"),
    [("fp16", "needs a GPU.*bf16"), ("bf17", "'bf17'; expected 'auto', 'fp32', 'bf16' or 'fp16'")],
)
def test_a_precision_that_cannot_be_is_refused(precision, says):
    with pytest.raises(SettingError, match=says):
        learner(precision=precision)


def test_auto_precision_is_fp32_on_a_cpu():
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"


@given(scale=hyp.floats(1e-3, 1e3), most=hyp.floats(1e-2, 1e2))
@settings(deadline=None, max_examples=30)
def test_clipping_is_torch_s_own_to_the_bit(scale, most):
    grads = [torch.randn(3, 4) * scale, torch.randn(5) * scale, torch.randn(()) * scale]
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = g.clone()
    expected = torch.nn.utils.clip_grad_norm_(params, most, foreach=True)
    assert torch.equal(clip_gradients(grads, most), expected)
    assert all(torch.equal(g, p.grad) for g, p in zip(grads, params, strict=True))
    assert clip_gradients([], most) == 0
