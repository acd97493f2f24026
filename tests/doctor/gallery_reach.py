"""Faults of what reaches what: tokens and padding, parts of an input, layers that fall together, windows, runs that go nowhere."""

import torch
import torch.nn.functional as F
from doctor.faults import blobs, convnet, draws, fault, healthy, learner, line, mlp, pictures, seeded, split
from torch import nn

from tipsai import DataLoaders

# --- texts as tokens ------------------------------------------------------------------------------------------------

T, V, DIM = 24, 12, 24


def padded(seed, n=500):
    """Texts of 3 to 12 tokens, filled up with 0 to T places: int64 [n, T], and whether 1s outnumber 2s."""
    g = draws(seed)
    lengths = torch.randint(3, 13, (n, 1), generator=g)
    x = torch.randint(1, V, (n, T), generator=g) * (torch.arange(T) < lengths)
    return x, ((x == 1).sum(1) > (x == 2).sum(1)).long()


def ordered(seed, n=500):
    """Texts in which 1 and 2 occur once each: int64 [n, T], and whether 1 comes first."""
    g = draws(seed)
    x = torch.randint(3, V, (n, T), generator=g)
    places = torch.rand(n, T, generator=g).argsort(1)[:, :2]
    x.scatter_(1, places, torch.tensor([[1, 2]]).expand(n, 2))
    return x, (places[:, 0] < places[:, 1]).long()


class Mean(nn.Module):
    """A mean over embeddings, of all places or of real tokens."""

    def __init__(self, masked, rows=V):
        super().__init__()
        self.embed, self.head, self.masked = nn.Embedding(rows, DIM), nn.Linear(DIM, 2), masked

    def forward(self, x):
        h = self.embed(x.clamp(max=self.embed.num_embeddings - 1))
        real = (x != 0).float()[..., None] if self.masked else torch.ones_like(h[..., :1])
        return self.head(F.relu((h * real).sum(1) / real.sum(1).clamp(min=1)))


class Attention(nn.Module):
    def __init__(self, places):
        super().__init__()
        self.embed, self.head = nn.Embedding(V, DIM), nn.Linear(DIM, 2)
        self.place = nn.Parameter(torch.randn(T, DIM)) if places else None
        self.block = nn.TransformerEncoderLayer(DIM, 2, 2 * DIM, 0.0, batch_first=True, norm_first=True)

    def forward(self, x):
        h = self.embed(x) if self.place is None else self.embed(x) + self.place[: x.shape[1]]
        return self.head(self.block(h).mean(1))


class Tagger(nn.Module):
    """Logits [b, V, t] for each place."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(V, DIM), nn.GRU(DIM, DIM, batch_first=True), nn.Linear(DIM, V)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0]).transpose(1, 2)


@fault("padding-counts")
def a_mean_over_padding(seed):
    return learner(split(*padded(seed)), seeded(seed, lambda: Mean(False)), seed)


@fault("padding-in-loss")
def padding_to_be_predicted(seed):
    x, _ = padded(seed)
    return learner(split(x[:, :-1], x[:, 1:].contiguous()), seeded(seed, Tagger), seed)


@fault("no-positions")
def attention_without_places(seed):
    return learner(split(*ordered(seed)), seeded(seed, lambda: Attention(False)), seed)


@fault("embedding-too-small")
def an_embedding_smaller_than_the_vocabulary(seed):
    return learner(split(*padded(seed)), seeded(seed, lambda: Mean(True, 5)), seed)


@healthy
def a_mean_over_real_tokens(seed):
    return learner(split(*padded(seed, 1500)), seeded(seed, lambda: Mean(True)), seed, lr=1e-2)


@healthy
def attention_with_places(seed):
    return learner(split(*ordered(seed, 1500)), seeded(seed, lambda: Attention(True)), seed)


@healthy
def padding_left_out_of_the_loss(seed):
    g = draws(seed)
    walk = (torch.randint(1, 3, (1200, T), generator=g).cumsum(1) % (V - 1)) + 1
    x = walk * (torch.arange(T) < torch.randint(6, 16, (1200, 1), generator=g))
    loss = nn.CrossEntropyLoss(ignore_index=0)
    return learner(split(x[:, :-1], x[:, 1:].contiguous()), seeded(seed, Tagger), seed, loss_fn=loss)


# --- parts of an input, and layers ----------------------------------------------------------------------------------


class First(nn.Module):
    """Looks at the first columns only."""

    def __init__(self, body, n):
        super().__init__()
        self.body, self.n = body, n

    def forward(self, x):
        return self.body(x[:, : self.n])


@fault("ignored-inputs")
def a_slice_of_the_input(seed):
    return learner(split(*blobs(seed)), First(mlp(seed, 4), 4), seed)


@fault("linear-layers")
def layers_without_an_activation(seed):
    model = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), nn.Linear(32, 32), nn.Linear(32, 3)))
    return learner(split(*blobs(seed)), model, seed)


@fault("same-units")
def weights_that_all_start_at_one_number(seed):
    model = mlp(seed)
    for p in model.parameters():
        nn.init.constant_(p, 0.05)
    return learner(split(*blobs(seed)), model, seed)


class Twins(nn.Module):
    """How far two pictures are apart: the last bias cancels out."""

    def __init__(self, body):
        super().__init__()
        self.body, self.scale = body, nn.Parameter(torch.tensor([-0.5, 0.3]))

    def forward(self, a, b):
        return self.scale[0] * (self.body(a) - self.body(b)).square().sum(1) + self.scale[1]


@healthy
def pairs_that_are_compared(seed):
    x, y = blobs(seed, 1200, noise=0.5)
    other = torch.randperm(len(x), generator=draws(seed))
    same = y == y[other]
    kept = torch.cat([same.nonzero()[:, 0], (~same).nonzero()[: int(same.sum()), 0]])
    kept = kept[torch.randperm(len(kept), generator=draws(seed + 1))]
    a, b, t = x[kept], x[other][kept], same[kept].float()
    n = int(0.75 * len(kept))
    dls = DataLoaders.from_tensors(((a[:n], b[:n]), t[:n]), ((a[n:], b[n:]), t[n:]), bs=32)
    return learner(dls, Twins(mlp(seed, 12, 8)), seed, loss_fn=nn.BCEWithLogitsLoss())


# --- data -----------------------------------------------------------------------------------------------------------


@fault("overlapping-windows")
def windows_of_one_series_split_at_random(seed):
    series = torch.randn(700, generator=draws(seed)).cumsum(0)
    series = (series - series.mean()) / series.std()
    windows = series.unfold(0, 21, 1)[torch.randperm(680, generator=draws(seed))]
    return learner(split(windows[:, :20].contiguous(), windows[:, 20:].contiguous()), mlp(seed, 20, 1), seed)


@fault("small-validation")
def a_dozen_items_of_validation(seed):
    return learner(split(*blobs(seed), share=0.98), mlp(seed), seed)


@fault("missing-codes", "input-scale")
def missing_values_written_as_a_number(seed):
    x, y = blobs(seed)
    x[torch.rand(600, generator=draws(seed)) < 0.1, 3] = -99.0
    return learner(split(x, y), mlp(seed), seed)


@fault("validation-scale")
def a_few_columns_of_validation_from_another_sensor(seed):
    x, y = blobs(seed)
    x[450:, :4] = 2 * x[450:, :4] + 3
    return learner(split(x, y), mlp(seed), seed)


@fault("leaking-column")
def a_mark_in_the_corner_of_one_class(seed):
    x, _ = pictures(seed, 600)
    y = torch.randint(2, (600,), generator=draws(seed))
    x[y == 1, :, :2, :2] += 8.0
    return learner(split(x, y), convnet(seed, 2), seed)


@fault("loss-for-targets")
def several_labels_as_one_of_several_classes(seed):
    x, _ = blobs(seed)
    y = (x[:, :4] > 0).float()
    return learner(split(x, y), mlp(seed, k=4), seed, loss_fn=nn.CrossEntropyLoss())


@fault("imbalance")
def class_weights_the_wrong_way_round(seed):
    x, _ = blobs(seed, 1200)
    y = (x[:, 0] > 1.3).long()
    return learner(split(x, y), mlp(seed, k=2), seed, loss_fn=nn.CrossEntropyLoss(weight=torch.tensor([9.0, 1.0])))


# --- runs that go nowhere -------------------------------------------------------------------------------------------


@fault("weights-vanish", epochs=8)
def a_penalty_that_outweighs_the_loss(seed):
    model = mlp(seed)

    def loss(model, batch):
        return F.cross_entropy(model(batch.x[0]), batch.y[0]) + sum(p.square().sum() for p in model.parameters())

    return learner(split(*blobs(seed)), model, seed, compute_loss=loss, lr=1e-2)


@fault("loss-without-floor", "loss-direction", epochs=30)
def a_likelihood_made_small(seed):
    def loss(model, batch):
        mean, spread = model(batch.x[0]).chunk(2, 1)
        return -F.gaussian_nll_loss(mean, batch.y[0], F.softplus(spread) + 1e-3)

    return learner(split(*line(seed)), mlp(seed, 10, 2), seed, compute_loss=loss, lr=1e-2)


@fault("few-steps", epochs=8)
def one_batch_of_everything(seed):
    return learner(split(*blobs(seed, noise=3.0), bs=450), mlp(seed), seed, lr=1e-4)


@fault("evaluation-differs", epochs=8)
def running_statistics_that_never_catch_up(seed):
    def made():
        norm = nn.BatchNorm1d(32, momentum=1e-4)
        return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), norm, nn.ReLU(), nn.Linear(32, 3))

    model = seeded(seed, made)
    with torch.no_grad():
        model[2].weight *= 0.2
        model[2].bias += 1.0
    return learner(split(*blobs(seed)), model, seed)
