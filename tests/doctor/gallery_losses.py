"""Faults at the model's end: activations before a loss, losses that pull the wrong way, targets, regularisation. See faults.py."""

import pandas as pd
import torch
import torch.nn.functional as F
from doctor.faults import (
    Recurrent,
    TinyLM,
    blobs,
    convnet,
    draws,
    fault,
    healthy,
    learner,
    line,
    mlp,
    pictures,
    seeded,
    sequences,
    split,
    tokens,
)
from torch import nn

from tipsai import Callback, DataLoaders
from tipsai.tabular import TabularDataLoaders, tabular_learner

# --- activations before a loss --------------------------------------------------------------------------------------


@fault("outputs")
def a_sigmoid_before_cross_entropy(seed):
    return learner(split(*blobs(seed)), nn.Sequential(mlp(seed), nn.Sigmoid()), seed)


@fault("outputs")
def a_hyperbolic_tangent_before_cross_entropy(seed):
    x, y = pictures(seed)
    return learner(split(x, y), nn.Sequential(convnet(seed), nn.Tanh()), seed)


@fault("outputs")
def a_hyperbolic_tangent_before_standardised_targets(seed):
    return learner(split(*line(seed)), nn.Sequential(mlp(seed, 10, 1), nn.Tanh()), seed)


@fault("outputs")
def a_rectifier_that_cuts_nothing_off_yet(seed):
    model = mlp(seed, 10, 1)
    with torch.no_grad():
        model[2].weight *= 0.1
        model[2].bias += 3.0
    return learner(split(*line(seed)), nn.Sequential(model, nn.ReLU()), seed)


# --- losses ---------------------------------------------------------------------------------------------------------


@fault("loss-direction")
def a_loss_of_the_wrong_sign(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=lambda p, y: -F.cross_entropy(p, y))


@fault("loss-direction")
def a_plus_in_the_squared_error(seed):
    return learner(split(*line(seed)), mlp(seed, 10, 1), seed, loss_fn=lambda p, y: ((p + y) ** 2).mean())


@fault("loss-direction")
def a_loss_of_the_most_probable_class(seed):
    def loss(p, y):
        return (p.argmax(1) != y).float().mean() + 0 * p.sum()

    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=loss)


@fault("loss-broadcast")
def a_loss_of_a_column_and_a_row(seed):
    x, y = line(seed)
    return learner(split(x, y[:, 0]), mlp(seed, 10, 1), seed, loss_fn=lambda p, y: ((p - y) ** 2).mean())


# --- what outputs depend on -----------------------------------------------------------------------------------------


class TimeFirst(nn.Module):
    """Takes the batch for time, and the last item's outputs for the last step's."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(2, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@fault("mixes-items")
def a_recurrent_layer_without_batch_first(seed):
    return learner(split(*sequences(seed)), seeded(seed, TimeFirst), seed)


@fault("gradient-through-time")
def a_recurrent_layer_whose_state_grows(seed):
    model = seeded(seed, Recurrent)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.rnn = nn.RNN(2, 16, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(model.rnn.weight_hh_l0, 2.2)
        nn.init.constant_(model.rnn.bias_ih_l0, 0.5)
    x, y = sequences(seed, t=40)
    return learner(split(x, y), model, seed)


# --- data -----------------------------------------------------------------------------------------------------------


@fault("targets-in-inputs")
def tokens_as_their_own_targets(seed):
    x, _ = tokens(seed)
    return learner(split(x, x.clone()), seeded(seed, TinyLM), seed)


@fault("targets-in-inputs")
def tokens_shifted_the_wrong_way(seed):
    x, y = tokens(seed)
    return learner(split(y, x), seeded(seed, TinyLM), seed)


@fault("near-duplicates")
def mirrored_before_the_split(seed):
    x, y = pictures(seed, 300)
    g = torch.Generator().manual_seed(seed)
    both = torch.randperm(600, generator=g)
    return learner(split(torch.cat([x, x.flip(-1)])[both], torch.cat([y, y])[both]), convnet(seed), seed)


@fault("class-numbering", epochs=12)
def classes_of_validation_numbered_otherwise(seed):
    x, y = blobs(seed, noise=0.5)
    dls = DataLoaders.from_tensors((x[:450], y[:450]), (x[450:], (y[450:] + 1) % 3), bs=32)
    return learner(dls, mlp(seed), seed)


@fault("identifier")
def a_table_sorted_by_target_and_numbered(seed):
    x, y = line(seed, 600)
    frame = pd.DataFrame(x[:, :4].numpy(), columns=list("abcd")).assign(price=y[:, 0].numpy())
    frame = frame.sort_values("price", ignore_index=True).assign(row=lambda df: 5000 + 3 * df.index)
    dls = TabularDataLoaders.from_df(frame, target="price", kinds={"row": "number"})
    return tabular_learner(dls, seed=seed)


@fault("duplicates")
def a_rare_class_drawn_several_times_before_the_split(seed):
    x, y = line(seed, 400)
    rare = (y[:, 0] > 1).nonzero()[:, 0]
    frame = pd.DataFrame(x[:, :4].numpy(), columns=list("abcd")).round(2).assign(dear=(y[:, 0] > 1).numpy())
    frame = pd.concat([frame, *[frame.iloc[rare.numpy()]] * 4], ignore_index=True)
    return tabular_learner(TabularDataLoaders.from_df(frame, target="dear", seed=seed), seed=seed)


@fault("leaking-column")
def a_column_that_is_filled_in_once_the_outcome_is_known(seed):
    x, y = line(seed, 600)
    bad = (y[:, 0] > 0).numpy()
    filled = bad & (torch.rand(600, generator=draws(seed)) < 0.97).numpy()
    days = torch.randint(1, 300, (600,), generator=draws(seed)).numpy().astype(float)
    frame = pd.DataFrame(x[:, :2].numpy(), columns=list("ab")).assign(days_late=days, bad=bad)
    frame.loc[~filled, "days_late"] = float("nan")
    return tabular_learner(TabularDataLoaders.from_df(frame, target="bad", seed=seed), seed=seed)


@fault("set-aside")
def a_column_that_was_lost_in_a_join(seed):
    x, y = line(seed, 600)
    frame = pd.DataFrame(x[:, :3].numpy(), columns=list("abc")).assign(rate=float("nan"), price=y[:, 0].numpy())
    return tabular_learner(TabularDataLoaders.from_df(frame, target="price", seed=seed), seed=seed)


@fault("imbalance")
def a_rare_class_in_a_table(seed):
    x, y = line(seed, 1500)
    frame = pd.DataFrame(x[:, :4].numpy(), columns=list("abcd")).assign(fraud=(y[:, 0] > 1.8).numpy())
    dls = TabularDataLoaders.from_df(frame, target="fraud", seed=seed)
    return tabular_learner(dls, metrics=["accuracy"], seed=seed)


@fault("identifier")
def an_embedding_of_the_row_itself(seed):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.row, self.head = nn.Embedding(600, 8), nn.Linear(20, 3)

        def forward(self, i, x):
            return self.head(torch.cat([self.row(i), x], 1))

    x, y = blobs(seed)
    i = torch.randperm(600, generator=draws(seed))
    dls = DataLoaders.from_tensors(((i[:450], x[:450]), y[:450]), ((i[450:], x[450:]), y[450:]), bs=32)
    return learner(dls, seeded(seed, Rows), seed)


@fault("constant-inputs")
def a_second_input_of_zeros(seed):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(12, 16), nn.Linear(6, 16), nn.Linear(32, 3)

        def forward(self, a, b):
            return self.head(F.relu(torch.cat([self.a(a), self.b(b)], 1)))

    x, y = blobs(seed)
    zeros = torch.zeros(600, 6)
    dls = DataLoaders.from_tensors(((x[:450], zeros[:450]), y[:450]), ((x[450:], zeros[450:]), y[450:]), bs=32)
    return learner(dls, seeded(seed, Two), seed)


@fault("input-scale")
def bytes_that_the_model_takes_for_numbers(seed):
    class Float(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x.float())

    x, y = blobs(seed)
    return learner(split((x * 30 + 128).clamp(0, 255).byte(), y), Float(mlp(seed)), seed)


@fault("gradient-through-time")
def gates_that_are_driven_to_their_ends(seed):
    model = seeded(seed, Recurrent)
    nn.init.normal_(model.rnn.weight_ih_l0, std=40.0, generator=draws(seed))
    return learner(split(*sequences(seed)), model, seed)


@fault("gradient-through-time", "ignores-input")
def a_recurrent_layer_that_forgets(seed):
    model = seeded(seed, Recurrent)
    model.rnn = seeded(seed, lambda: nn.RNN(2, 16, batch_first=True))
    nn.init.uniform_(model.rnn.weight_hh_l0, -0.05, 0.05, generator=draws(seed))
    return learner(split(*sequences(seed, t=60)), model, seed)


@fault("test-looks", epochs=4)
def a_test_looked_at_after_every_epoch(seed):
    class Peek(Callback):
        def after_epoch(self, st):
            self.learn.test()

    x, y = blobs(seed, 800)
    peek = Peek()
    peek.learn = learner(split(x[:600], y[:600], test=(x[600:], y[600:])), mlp(seed), seed, callbacks=[peek])
    return peek.learn


# --- regularisation -------------------------------------------------------------------------------------------------


@fault("dropout-rate")
def dropout_of_nearly_everything(seed):
    body = mlp(seed, k=32)
    return learner(
        split(*blobs(seed)), nn.Sequential(body, nn.Dropout(0.95), seeded(seed, lambda: nn.Linear(32, 3))), seed
    )


@fault("weight-decay")
def weight_decay_a_thousand_times_too_strong(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, wd=10.0)


@fault("fit-few")
def a_rate_a_hundred_times_too_low(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, lr=3e-5)


# --- in good health -------------------------------------------------------------------------------------------------


@healthy
def inputs_as_their_own_targets(seed):
    x, _ = blobs(seed)
    return learner(split(x, x.clone()), mlp(seed, k=12), seed)


@healthy
def shares_from_a_sigmoid(seed):
    x, y = line(seed, 1200)
    return learner(
        split(x, torch.sigmoid(y)), nn.Sequential(mlp(seed, 10, 1), nn.Sigmoid()), seed, loss_fn=nn.MSELoss()
    )


@healthy
def amounts_above_zero_from_a_softplus(seed):
    x, y = line(seed, 1200)
    return learner(split(x, F.softplus(y) + 0.1), nn.Sequential(mlp(seed, 10, 1), nn.Softplus()), seed)


@healthy
def a_loss_of_agreement(seed):
    """Minus the correlation: of any scale, and of no row by itself."""

    def loss(p, y):
        p, y = p - p.mean(0), y - y.mean(0)
        return 1 - (p * y).sum() / (p.norm() * y.norm()).clamp(min=1e-6)

    return learner(split(*line(seed, 1200)), mlp(seed, 10, 1), seed, loss_fn=loss)


@healthy
def pictures_that_are_their_mirror_images(seed):
    x, y = pictures(seed, 600)
    return learner(split((x + x.flip(-1)) / 2**0.5, y), convnet(seed), seed)


@healthy
def strongly_regularised(seed):
    x, y = blobs(seed, 1200)
    model = nn.Sequential(mlp(seed, k=64), nn.Dropout(0.5), seeded(seed, lambda: nn.Linear(64, 3)))
    return learner(split(x, y), model, seed, wd=0.3)
