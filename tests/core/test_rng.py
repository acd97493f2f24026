import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as hyp

from tipsai.core import rng


def _state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_seeds_are_the_same_on_every_machine_and_python():
    assert rng.derive(0, "order", 3) == 5486038029339273987
    assert rng.derive(7, "mixup", 0, 1, 2) == 1929673158934211022


@given(seed=hyp.integers(0, 2**31), epoch=hyp.integers(0, 9), position=hyp.integers(0, 9))
def test_seeds_differ_by_everything_they_depend_on(seed, epoch, position):
    keys = [(seed, "a", epoch, position), (seed + 1, "a", epoch, position), (seed, "b", epoch, position)]
    keys += [(seed, "a", epoch + 1, position), (seed, "a", epoch, position + 1), (seed, "a", position)]
    found = [rng.derive(*key) for key in keys]
    assert len(set(found)) == len(keys) and all(0 <= s < 2**63 for s in found)


@given(n=hyp.integers(0, 50), seed=hyp.integers(0, 99), epoch=hyp.integers(0, 9))
def test_an_epochs_order_is_a_permutation_that_can_be_had_again(n, seed, epoch):
    order = rng.order(n, seed, epoch)
    assert sorted(order.tolist()) == list(range(n)) and torch.equal(order, rng.order(n, seed, epoch))


def test_every_epoch_has_another_order():
    assert len({tuple(rng.order(20, 0, epoch).tolist()) for epoch in range(10)}) == 10


def test_preserved_puts_every_generator_back_even_after_an_error():
    before = _state()
    with pytest.raises(ValueError, match="x"), rng.preserved():
        rng.seed_everything(3)
        random.random(), np.random.rand(), torch.rand(1)
        assert _state() != before
        raise ValueError("x")
    assert _state() == before


def test_saved_states_continue_the_same_draws():
    with rng.preserved():
        torch.manual_seed(5)
        saved = rng.state_tensors()
        drawn = torch.rand(4)
        torch.manual_seed(6)
        rng.restore_tensors(saved)
        assert torch.equal(torch.rand(4), drawn)


def test_seeding_makes_all_three_generators_repeat():
    def draws():
        rng.seed_everything(2**40 + 1)  # wider than NumPy's own seeds
        return random.random(), np.random.rand(), torch.rand(1).item()

    with rng.preserved():
        assert draws() == draws()


def test_drawn_seeds_come_from_the_operating_system():
    with rng.preserved():
        random.seed(0)
        first = rng.draw_seed()
        random.seed(0)
        assert rng.draw_seed() != first


@given(seed=hyp.integers(0, 2**31), n=hyp.integers(0, 300))
def test_an_items_uniform_number_depends_on_its_own_number_alone(seed, n):
    items = torch.arange(n)
    found = rng.uniform(items, seed, "a")
    assert found.dtype == torch.float64 and ((found >= 0) & (found < 1)).all()
    assert torch.equal(rng.uniform(items.flip(0), seed, "a"), found.flip(0))
    assert len(set(found.tolist())) == n


def test_uniform_numbers_of_items_are_uniform():
    found = rng.uniform(torch.arange(20_000), 1, "a")
    counts = torch.histc(found, 20, 0, 1)
    assert (counts - 1000).abs().max() < 5 * 1000**0.5
    neighbours = torch.corrcoef(torch.stack([found[:-1], found[1:]]))[0, 1]
    assert abs(neighbours.item()) < 0.03
