"""Faults before training: of the data, and of the model as it begins. See faults.py."""

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
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tipsai import DataLoaders

# --- outputs and losses ---------------------------------------------------------------------------------------------


@fault("outputs")
def softmax_before_cross_entropy(seed):
    return learner(split(*blobs(seed)), nn.Sequential(mlp(seed), nn.Softmax(1)), seed)


@fault("outputs")
def sigmoid_before_binary_cross_entropy_with_logits(seed):
    x, y = blobs(seed, k=2)
    return learner(split(x, y.bool()[:, None]), nn.Sequential(mlp(seed, k=1), nn.Sigmoid()), seed)


@fault("outputs")
def rectifier_after_the_last_layer(seed):
    return learner(split(*blobs(seed)), nn.Sequential(mlp(seed), nn.ReLU()), seed)


@fault("outputs")
def rectifier_before_targets_of_both_signs(seed):
    return learner(split(*line(seed)), nn.Sequential(mlp(seed, 10, 1), nn.ReLU()), seed)


@fault("outputs")
def sigmoid_before_large_targets(seed):
    x, y = line(seed)
    return learner(split(x, y * 2 + 1), nn.Sequential(mlp(seed, 10, 1), nn.Sigmoid()), seed)


@fault("outputs")
def logits_before_a_loss_of_log_probabilities(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=nn.NLLLoss())


@fault("outputs")
def probabilities_before_a_loss_of_log_probabilities(seed):
    x, y = blobs(seed)
    return learner(split(x, y), nn.Sequential(mlp(seed), nn.Softmax(1)), seed, loss_fn=lambda p, t: F.nll_loss(p, t))


@fault("loss-for-targets")
def squared_error_of_class_numbers(seed):
    x, y = blobs(seed, k=5)
    return learner(split(x, y.float()[:, None]), mlp(seed, k=1), seed, loss_fn=nn.MSELoss())


@fault("loss-for-targets", "first-loss")
def cross_entropy_of_amounts(seed):
    x, y = line(seed)
    return learner(split(x, (y[:, 0] * 100 + 500).long().clamp(0, 999)), mlp(seed, 10, 1000), seed)


@fault("first-loss")
def targets_far_from_the_first_outputs(seed):
    x, y = line(seed)
    return learner(split(x, 300 + 10 * y), mlp(seed, 10, 1), seed)


# --- initial weights ------------------------------------------------------------------------------------------------


def scaled(model, factor, last=False):
    with torch.no_grad():
        for layer in [m for m in model.modules() if isinstance(m, nn.Linear)][-1 if last else 0 :]:
            layer.weight *= factor
    return model


@fault("first-loss")
def initial_weights_too_large(seed):
    return learner(split(*blobs(seed)), scaled(mlp(seed), 12.0), seed)


@fault("gradient-depth", "fit-few", "ignores-input", "gradient-flow")
def initial_weights_too_small(seed):
    return learner(split(*blobs(seed)), scaled(mlp(seed, depth=6), 0.02), seed)


@fault("gradient-depth")
def sigmoids_one_after_another(seed):
    return learner(split(*blobs(seed)), mlp(seed, depth=10, act=nn.Sigmoid), seed)


@fault("ignores-input", "gradient-flow", "fit-few")
def dead_rectifiers(seed):
    model = mlp(seed)
    with torch.no_grad():
        model[0].bias -= 30.0
    return learner(split(*blobs(seed)), model, seed)


# --- gradients ------------------------------------------------------------------------------------------------------


class Detached(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(self.body(x).detach())


@fault("gradient-flow")
def detached_body(seed):
    return learner(split(*blobs(seed)), Detached(mlp(seed, k=16), seeded(seed, lambda: nn.Linear(16, 3))), seed)


@fault("gradient-flow")
def everything_frozen(seed):
    model = mlp(seed)
    for p in model.parameters():
        p.requires_grad_(False)
    return learner(split(*blobs(seed)), model, seed)


@fault("gradient-flow")
def a_layer_frozen_by_mistake(seed):
    model = mlp(seed, depth=3)
    model[2].weight.requires_grad_(False)
    return learner(split(*blobs(seed)), model, seed)


@fault("gradient-flow")
def a_layer_missing_from_the_optimizer(seed):
    model = mlp(seed)
    learn = learner(split(*blobs(seed)), model, seed)
    model[2] = seeded(seed, lambda: nn.Linear(32, 3))  # a new head, after the learner was made
    return learn


@fault("gradient-flow")
def an_optimizer_of_the_head_alone(seed):
    model = mlp(seed)
    return learner(split(*blobs(seed)), model, seed, opt=lambda groups: torch.optim.Adam(model[2].parameters(), 1e-3))


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(12, 32), nn.Linear(32, 3)
        self.middle = [nn.Linear(32, 32) for _ in range(2)]

    def forward(self, x):
        h = F.relu(self.first(x))
        for layer in self.middle:
            h = F.relu(layer(h))
        return self.head(h)


@fault("gradient-flow")
def layers_in_a_plain_list(seed):
    return learner(split(*blobs(seed)), seeded(seed, Listed), seed)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(12, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x):
        h = F.relu(self.first(x))
        F.relu(self.second(h))  # its result is thrown away
        return self.head(h)


@fault("gradient-flow")
def a_layer_whose_result_is_thrown_away(seed):
    return learner(split(*blobs(seed)), seeded(seed, Unused), seed)


# --- what outputs depend on -----------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """A view that takes time for rows and rows for time."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 16), nn.Linear(16, 2)

    def forward(self, x):
        h = F.relu(self.body(x))
        b, t, d = h.shape
        return self.head(h.view(t, b, d).mean(0))


@fault("mixes-items")
def a_view_that_mixes_the_batch(seed):
    return learner(split(*sequences(seed)), seeded(seed, Mixed), seed)


class OverRows(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        logits = self.body(x)
        return logits - logits.mean(0)


@fault("mixes-items")
def a_mean_over_the_rows(seed):
    return learner(split(*blobs(seed)), OverRows(mlp(seed)), seed)


class AlwaysTraining(nn.BatchNorm1d):
    def train(self, mode=True):
        return super().train(True)


@fault("mixes-items")
def batch_norm_left_in_training_mode(seed):
    body = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), AlwaysTraining(32), nn.ReLU(), nn.Linear(32, 3)))
    return learner(split(*blobs(seed)), body, seed)


@fault("mixes-items")
def batch_norm_without_running_statistics(seed):
    norm = nn.BatchNorm1d(32, track_running_stats=False)
    body = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), norm, nn.ReLU(), nn.Linear(32, 3)))
    return learner(split(*blobs(seed)), body, seed)


@fault("sees-the-future")
def attention_that_sees_the_future(seed):
    return learner(split(*tokens(seed)), seeded(seed, lambda: TinyLM(causal=False)), seed)


class Functional(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(F.dropout(self.body(x), 0.5))


@fault("random-evaluation")
def dropout_in_evaluation(seed):
    return learner(split(*blobs(seed)), Functional(mlp(seed, k=16), seeded(seed, lambda: nn.Linear(16, 3))), seed)


class Blind(nn.Module):
    def __init__(self):
        super().__init__()
        self.start, self.head = nn.Parameter(torch.randn(32)), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.start.expand(len(x), 32))


@fault("ignores-input")
def a_model_that_never_looks_at_its_input(seed):
    return learner(split(*blobs(seed)), seeded(seed, Blind), seed)


@fault("batch-norm-small-batch")
def batch_norm_of_tiny_batches(seed):
    body = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)))
    return learner(split(*blobs(seed), bs=2), body, seed)


# --- inputs ---------------------------------------------------------------------------------------------------------


@fault("input-scale")
def pictures_of_0_to_255(seed):
    x, y = pictures(seed)
    return learner(split((x * 40 + 120).clamp(0, 255), y), convnet(seed, norm=False), seed)


@fault("input-scale")
def a_table_that_nobody_scaled(seed):
    x, y = blobs(seed)
    return learner(split(x * torch.logspace(-1, 4, 12), y), mlp(seed), seed)


@fault("validation-scale")
def validation_normalised_otherwise(seed):
    x, y = blobs(seed)
    return learner(DataLoaders.from_tensors((x[:450], y[:450]), (x[450:] * 3 + 2, y[450:]), bs=32), mlp(seed), seed)


@fault("validation-scale")
def validation_never_normalised(seed):
    x, y = pictures(seed)
    return learner(
        DataLoaders.from_tensors((x[:300], y[:300]), (x[300:] * 60 + 120, y[300:]), bs=32), convnet(seed), seed
    )


@fault("constant-inputs")
def a_constant_input(seed):
    x, y = blobs(seed)
    return learner(split(x * 0 + 1, y), mlp(seed), seed)


@fault("constant-inputs")
def a_dead_column(seed):
    x, y = blobs(seed)
    x[:, 5] = 0.0
    return learner(split(x, y), mlp(seed), seed)


@fault("non-finite-data")
def missing_values_in_the_inputs(seed):
    x, y = blobs(seed)
    x[torch.rand(x.shape, generator=draws(seed)) < 0.01] = torch.nan
    return learner(split(x, y), mlp(seed), seed)


@fault("non-finite-data")
def an_infinite_target(seed):
    x, y = line(seed)
    y[7] = torch.inf
    return learner(split(x, y), mlp(seed, 10, 1), seed)


# --- splits ---------------------------------------------------------------------------------------------------------


@fault("no-validation")
def no_validation_data(seed):
    return learner(DataLoaders.from_tensors(blobs(seed), bs=32), mlp(seed), seed)


@fault("duplicates")
def duplicates_across_the_split(seed):
    x, y = blobs(seed)
    x[450:500], y[450:500] = x[:50], y[:50]
    return learner(split(x, y), mlp(seed), seed)


@fault("duplicates")
def every_row_twice_before_the_split(seed):
    x, y = blobs(seed, n=400)
    order = torch.randperm(800, generator=draws(seed))
    return learner(split(torch.cat([x, x])[order], torch.cat([y, y])[order]), mlp(seed), seed)


@fault("near-duplicates")
def near_duplicates_across_the_split(seed):
    x, y = blobs(seed)
    x[450:520], y[450:520] = x[:70] + 0.01 * torch.randn(70, 12, generator=draws(seed)), y[:70]
    return learner(split(x, y), mlp(seed), seed)


@fault("near-duplicates")
def augmented_before_the_split(seed):
    x, y = blobs(seed, n=300)
    order = torch.randperm(900, generator=draws(seed))
    many = torch.cat([x + 0.02 * torch.randn(x.shape, generator=draws(seed + k)) for k in range(3)])
    return learner(split(many[order], torch.cat([y, y, y])[order]), mlp(seed), seed)


@fault("test-looks")
def a_test_set_looked_at_repeatedly(seed):
    x, y = blobs(seed, 800)
    learn = learner(split(x[:600], y[:600], test=(x[600:], y[600:])), mlp(seed), seed)
    for _ in range(3):
        learn.test()
    return learn


@fault("valid-test-shift")
def a_test_that_is_shifted(seed):
    x, y = blobs(seed, 900)
    return learner(split(x[:600], y[:600], test=(x[600:] + 0.8, y[600:])), mlp(seed), seed)


@fault("valid-test-shift")
def a_test_with_another_spread(seed):
    x, y = blobs(seed, 900)
    return learner(split(x[:600], y[:600], test=(x[600:] * 1.8, y[600:])), mlp(seed), seed)


@fault("class-mix")
def sorted_by_class_and_cut(seed):
    x, y = blobs(seed, k=4)
    order = y.argsort()
    return learner(split(x[order], y[order]), mlp(seed, k=4), seed)


# --- order ----------------------------------------------------------------------------------------------------------


@fault("order")
def no_shuffling(seed):
    x, y = blobs(seed)
    data = TensorDataset(x[:450], y[:450])
    loaders = DataLoaders.from_loaders(DataLoader(data, 32), DataLoader(TensorDataset(x[450:], y[450:]), 64))
    return learner(loaders, mlp(seed), seed)


@fault("order")
def sorted_data_in_fixed_order(seed):
    x, y = blobs(seed)
    x_train, y_train = x[:450][y[:450].argsort()], y[:450].sort().values
    data, held_out = TensorDataset(x_train, y_train), TensorDataset(x[450:], y[450:])
    return learner(DataLoaders.from_loaders(DataLoader(data, 32), DataLoader(held_out, 64)), mlp(seed), seed)


class Noisy(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + 0.1 * torch.randn(self.x[i].shape), self.y[i]


@fault("augmented-validation")
def augmentation_in_validation(seed):
    x, y = blobs(seed)
    return learner(DataLoaders.from_datasets(Noisy(x[:450], y[:450]), Noisy(x[450:], y[450:]), bs=32), mlp(seed), seed)


@fault("augmented-validation")
def augmentation_in_a_validation_loader(seed):
    x, y = blobs(seed)
    train, valid = DataLoader(Noisy(x[:450], y[:450]), 32, shuffle=True), DataLoader(Noisy(x[450:], y[450:]), 64)
    return learner(DataLoaders.from_loaders(train, valid), mlp(seed), seed)


# --- targets --------------------------------------------------------------------------------------------------------


def rare(seed, n):
    """Two classes, 900 items of one and n of the other."""
    x, y = blobs(seed, 2000, k=2)
    kept = torch.cat([(y == 0).nonzero()[:900, 0], (y == 1).nonzero()[:n, 0]])
    kept = kept[torch.randperm(len(kept), generator=draws(seed))]
    return x[kept], y[kept]


@fault("imbalance")
def a_rare_class(seed):
    x, y = rare(seed, 30)
    return learner(split(x, y), mlp(seed, k=2), seed, metrics=["accuracy"])


@fault("leaking-column")
def a_column_made_from_the_target(seed):
    x, y = blobs(seed, noise=2.0)
    x[:, 4] = y.float() + 0.01 * torch.randn(len(y), generator=draws(seed))
    return learner(split(x, y), mlp(seed), seed)


@fault("leaking-column")
def the_target_in_other_units(seed):
    x, y = line(seed)
    x[:, 2] = -1.7 * y[:, 0] + 0.4
    return learner(split(x, y), mlp(seed, 10, 1), seed)


@fault("identifier")
def an_identifier_among_the_inputs(seed):
    x, y = blobs(seed)
    ids = torch.arange(len(x)).float()[torch.randperm(len(x), generator=draws(seed))]
    x[:, 3] = (ids - ids.mean()) / ids.std()
    return learner(split(x, y), mlp(seed), seed)


# --- healthy runs ---------------------------------------------------------------------------------------------------


@healthy
def small_network(seed):
    return learner(split(*blobs(seed)), mlp(seed), seed, metrics=["accuracy"])


@healthy
def large_network(seed):
    return learner(split(*blobs(seed, 2000)), mlp(seed, width=512, depth=3), seed)


@healthy
def deep_network_with_norms(seed):
    def made():
        blocks = [m for _ in range(8) for m in (nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU())]
        return nn.Sequential(nn.Linear(12, 32), *blocks, nn.Linear(32, 3))

    return learner(split(*blobs(seed)), seeded(seed, made), seed)


@healthy
def convolutions(seed):
    return learner(split(*pictures(seed)), convnet(seed), seed)


@healthy
def convolutions_of_pictures_from_0_to_1(seed):
    x, y = pictures(seed)
    return learner(split((x / 8 + 0.4).clamp(0, 1), y), convnet(seed, norm=False), seed)


@healthy
def recurrent(seed):
    return learner(split(*sequences(seed)), seeded(seed, Recurrent), seed)


@healthy
def language_model(seed):
    return learner(split(*tokens(seed)), seeded(seed, TinyLM), seed)


@healthy
def language_model_with_tied_weights(seed):
    return learner(split(*tokens(seed)), seeded(seed, lambda: TinyLM(tied=True)), seed)


@healthy
def regression(seed):
    return learner(split(*line(seed)), mlp(seed, 10, 1), seed)


@healthy
def regression_with_a_robust_loss(seed):
    return learner(split(*line(seed)), mlp(seed, 10, 1), seed, loss_fn=nn.SmoothL1Loss())


@healthy
def several_labels(seed):
    x, y = blobs(seed, k=4)
    labels = torch.stack([y == 1, y >= 2, y == 3], 1)
    return learner(split(x, labels), mlp(seed), seed)


@healthy
def yes_or_no(seed):
    x, y = blobs(seed, k=2)
    return learner(split(x, y.bool()[:, None]), mlp(seed, k=1), seed)


@healthy
def imbalanced_but_weighted(seed):
    x, y = rare(seed, 40)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 20.0]))
    return learner(split(x, y), mlp(seed, k=2), seed, loss_fn=loss)


@healthy
def imbalanced_and_judged_by_balance(seed):
    x, y = rare(seed, 40)
    return learner(split(x, y), mlp(seed, k=2), seed, metrics=["balanced_accuracy"])


@healthy
def noisy_but_honest_labels(seed):
    x, y = blobs(seed)
    wrong = torch.rand(len(y), generator=draws(seed)) < 0.3
    return learner(split(x, torch.where(wrong, torch.randint(3, y.shape, generator=draws(seed)), y)), mlp(seed), seed)


@healthy
def fine_tuning_with_a_frozen_body(seed):
    body = mlp(seed, k=16)
    x, y = blobs(seed + 50, k=16)
    learner(split(x, y), body, seed).fit_one_cycle(3, progress=False)
    for p in body.parameters():
        p.requires_grad_(False)
    return learner(split(*blobs(seed)), nn.Sequential(body, seeded(seed, lambda: nn.Linear(16, 3))), seed)


@healthy
def a_last_layer_that_starts_at_zero(seed):
    model = mlp(seed)
    nn.init.zeros_(model[2].weight)
    return learner(split(*blobs(seed)), model, seed)


@healthy
def dropout_and_batch_norm(seed):
    def made():
        return nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))

    return learner(split(*blobs(seed)), seeded(seed, made), seed)


@healthy
def a_hundred_classes(seed):
    x, y = blobs(seed, 3000, 20, 100, 0.5)
    return learner(split(x, y), mlp(seed, 20, 100), seed)


@healthy
def few_rows(seed):
    return learner(split(*blobs(seed, n=80), bs=16), mlp(seed), seed)


@healthy
def two_inputs(seed):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body = nn.Embedding(5, 4), nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, codes, x):
            return self.body(torch.cat([self.embed(codes), x], 1))

    x, y = blobs(seed)
    codes = torch.randint(5, (len(x),), generator=draws(seed))
    parts = [((codes[part], x[part]), y[part]) for part in (slice(0, 450), slice(450, None))]
    return learner(DataLoaders.from_tensors(*parts, bs=32), seeded(seed, Two), seed)


@healthy
def yes_and_no_columns(seed):
    """Discrete inputs: rows coincide by nature."""
    g = draws(seed)
    x = torch.randint(0, 2, (900, 6), generator=g).float()
    y = ((x.sum(1) + torch.randn(900, generator=g)) > 3).long()
    return learner(split(x, y), mlp(seed, 6, 2), seed)


@healthy
def torch_loaders(seed):
    x, y = blobs(seed)
    train, valid = TensorDataset(x[:450], y[:450]), TensorDataset(x[450:], y[450:])
    return learner(
        DataLoaders.from_loaders(DataLoader(train, 32, shuffle=True), DataLoader(valid, 64)), mlp(seed), seed
    )


@healthy
def augmented_datasets(seed):
    x, y = blobs(seed)
    loaders = DataLoaders.from_datasets(Noisy(x[:450], y[:450]), TensorDataset(x[450:], y[450:]), bs=32)
    return learner(loaders, mlp(seed), seed)


@healthy
def a_loss_of_ones_own(seed):
    def focal(pred, y):
        p = pred.log_softmax(1).gather(1, y[:, None])[:, 0]
        return -((1 - p.exp()) ** 2 * p).mean()

    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=focal)


@healthy
def a_loss_computed_by_hand(seed):
    def two_views(model, batch):
        a, b = model(batch.x[0]), model(batch.x[0] + 0.01)
        return F.cross_entropy(a, batch.y[0]) + F.mse_loss(a, b)

    return learner(split(*blobs(seed)), mlp(seed), seed, compute_loss=two_views)


@healthy
def a_test_drawn_alike(seed):
    x, y = blobs(seed, 900)
    return learner(split(x[:600], y[:600], test=(x[600:], y[600:])), mlp(seed), seed)


@healthy
def a_recurrent_network_for_numbers_of_any_size(seed):
    """What the last layer takes is bounded, and what it returns is not, once it has learned."""
    x, y = sequences(seed)
    target = (x[:, -1, :1] * 3 + y[:, None]) * 1.5
    return learner(split(x, target), seeded(seed, lambda: Recurrent(1)), seed)


@healthy
def log_probabilities_and_their_loss(seed):
    return learner(split(*blobs(seed)), nn.Sequential(mlp(seed), nn.LogSoftmax(1)), seed, loss_fn=nn.NLLLoss())
