"""Faults that a trained model shows, and those of losses and layers. See faults.py."""

import torch
import torch.nn.functional as F
from doctor.faults import blobs, convnet, draws, fault, healthy, learner, line, mlp, pictures, seeded, split
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tipsai import DataLoaders

# --- targets --------------------------------------------------------------------------------------------------------


def shuffled(y, seed):
    return y[torch.randperm(len(y), generator=draws(seed + 1000))]


def partly_wrong(y, k, share, seed):
    """Class numbers of which a share are another class's."""
    g = draws(seed + 1000)
    other = (y + torch.randint(1, k, y.shape, generator=g)) % k
    return torch.where(torch.rand(len(y), generator=g) < share, other, y)


@fault("baselines", epochs=10)
def shuffled_labels(seed):
    x, y = blobs(seed)
    return learner(split(x, shuffled(y, seed)), mlp(seed), seed)


@fault("baselines", epochs=10)
def shuffled_numbers(seed):
    x, y = line(seed)
    return learner(split(x, shuffled(y, seed)), mlp(seed, 10, 1), seed)


@fault("baselines", epochs=6)
def shuffled_labels_of_pictures(seed):
    x, y = pictures(seed)
    return learner(split(x, shuffled(y, seed)), convnet(seed), seed)


@fault("label-errors", epochs=10)
def labels_that_are_partly_wrong(seed):
    x, y = blobs(seed, 1600, noise=0.6)
    return learner(split(x, partly_wrong(y, 3, 0.25, seed)), mlp(seed), seed)


@fault("gaps", epochs=10)
def wrong_labels_in_training_alone(seed):
    x, y = blobs(seed, 1600, noise=0.6)
    y[:1200] = partly_wrong(y[:1200], 3, 0.4, seed)
    return learner(split(x, y), mlp(seed), seed)


# --- capacity -------------------------------------------------------------------------------------------------------


def rings(seed, n=1600):
    """Two rings around the origin in two dimensions: no line parts them."""
    g = draws(seed)
    y = torch.randint(2, (n,), generator=g)
    angle = 6.283 * torch.rand(n, generator=g)
    radius = 1.0 + y + 0.1 * torch.randn(n, generator=g)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1) / 1.5, y


@fault("baselines", "gaps", epochs=10)
def too_little_capacity(seed):
    return learner(split(*rings(seed)), seeded(seed, lambda: nn.Linear(2, 2)), seed)


@fault("baselines", "gaps", epochs=10)
def a_bottleneck_of_one_unit(seed):
    return learner(split(*rings(seed)), mlp(seed, 2, 2, width=1, act=nn.Tanh), seed)


@fault("gaps", "overfitting", epochs=60)
def too_much_capacity_for_few_rows(seed):
    x, y = blobs(seed, 240, 40, 3, 3.0)
    return learner(split(x, y, bs=16), mlp(seed, 40, width=512, depth=3), seed)


@fault("baselines", "gaps", epochs=0.3)
def training_that_ended_too_early(seed):
    x, y = blobs(seed, noise=0.6)
    return learner(split(x, y), mlp(seed), seed)


# --- augmentation ---------------------------------------------------------------------------------------------------


class Moved(Dataset):
    """Pictures of which a part is moved down by a third: to where another class has its bar."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i].roll(4, 1) if torch.rand(()) < 0.3 else self.x[i], self.y[i]

    def without_augmentation(self):
        return TensorDataset(self.x, self.y)


@fault("augmentation-flips", epochs=10)
def an_augmentation_that_changes_the_label(seed):
    x, y = pictures(seed, 900)
    loaders = DataLoaders.from_datasets(Moved(x[:700], y[:700]), TensorDataset(x[700:], y[700:]), bs=32)
    return learner(loaders, convnet(seed), seed)


# --- the test -------------------------------------------------------------------------------------------------------


@fault("test-gap", "valid-test-shift", epochs=10)
def a_test_whose_targets_follow_another_rule(seed):
    x, y = blobs(seed, 1200)
    y[900:] = partly_wrong(y[900:], 3, 0.5, seed)
    learn = learner(split(x[:900], y[:900], test=(x[900:], y[900:])), mlp(seed), seed)
    trained = learn.fit_one_cycle

    def fit_and_test(*args, **options):
        trained(*args, **options)
        learn.test()

    learn.fit_one_cycle = fit_and_test
    return learn


# --- losses and layers ----------------------------------------------------------------------------------------------


@fault("accumulation")
def a_loss_that_sums_over_rows(seed):
    def summed(pred, y):
        return F.cross_entropy(pred, y, reduction="sum")

    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=summed)


@fault("accumulation")
def a_loss_that_looks_across_rows(seed):
    def contrasted(pred, y):
        same = (y[:, None] == y[None]).float()
        return F.binary_cross_entropy_with_logits(pred @ pred.T, same)

    return learner(split(*blobs(seed)), mlp(seed), seed, loss_fn=contrasted)


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log()


@fault("non-finite-values")
def a_logarithm_of_what_may_be_negative(seed):
    model = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), Logarithm(), nn.Linear(32, 3)))
    return learner(split(*blobs(seed)), model, seed)


class Half(nn.Module):
    """A layer that computes in half precision, whose largest number is 65,504."""

    def forward(self, x):
        return (x.half() * 60_000).float() / 60_000


@fault("non-finite-values")
def overflow_in_half_precision(seed):
    model = seeded(seed, lambda: nn.Sequential(nn.Linear(12, 32), nn.ReLU(), Half(), nn.Linear(32, 3)))
    x, y = blobs(seed)
    return learner(split(3 * x, y), model, seed)


class Distance(nn.Module):
    """Distances from a learned centre; the root's gradient is infinite where one is zero."""

    def __init__(self):
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(12))

    def forward(self, x):
        return ((x - self.centre) ** 2).sqrt()


@fault("non-finite-values")
def a_root_whose_gradient_is_infinite(seed):
    x, y = blobs(seed)
    x[::5, 3] = 0.0
    model = seeded(seed, lambda: nn.Sequential(Distance(), nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3)))
    return learner(split(x, y), model, seed)


# --- healthy --------------------------------------------------------------------------------------------------------


@healthy
def rings_and_a_network_that_can(seed):
    return learner(split(*rings(seed)), mlp(seed, 2, 2, width=64, depth=2), seed)


@healthy
def regression_in_other_units(seed):
    x, y = line(seed)
    return learner(split(x, y / 2), mlp(seed, 10, 1), seed, loss_fn=nn.L1Loss())


@healthy
def a_faint_but_true_signal(seed):
    g = draws(seed)
    x = torch.randn(3000, 10, generator=g)
    y = ((x[:, 0] + 0.5 * x[:, 1] + 1.5 * torch.randn(3000, generator=g)) > 0).long()
    return learner(split(x, y), mlp(seed, 10, 2), seed)


@healthy
def augmentation_that_keeps_the_label(seed):
    class Mirrored(Moved):
        def __getitem__(self, i):
            return self.x[i].flip(2) if torch.rand(()) < 0.5 else self.x[i], self.y[i]

    x, y = pictures(seed, 900)
    loaders = DataLoaders.from_datasets(Mirrored(x[:700], y[:700]), TensorDataset(x[700:], y[700:]), bs=32)
    return learner(loaders, convnet(seed), seed)
