import itertools

import pytest
import torch

from tipsai.core.errors import SettingError
from tipsai.text.generate import pick, stream
from tipsai.text.transformer import Transformer


def model():
    torch.manual_seed(0)
    made = Transformer(n_tokens=30, block_size=24, dim=32, n_layers=2, n_heads=2)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made


def some(n=60, **options):
    return list(stream(model(), [1, 2, 3], n, **{"block_size": 24, "seed": 1, "temperature": 1.0} | options))


def test_the_cache_changes_no_token_beyond_the_context_too():
    assert len(some()) == 60
    assert some() == some(cached=False)


def test_a_seed_repeats_and_none_draws_anew():
    assert some() == some() != some(seed=2)
    assert some(seed=None) != some(seed=None)


def test_generation_leaves_the_mode_and_the_generators_alone():
    made = model().train()
    state = torch.get_rng_state()
    list(stream(made, [1], 3, block_size=24, seed=0))
    assert made.training and torch.equal(torch.get_rng_state(), state)


def test_tokens_come_as_they_are_drawn():
    made = model()
    tokens = stream(made, [1, 2, 3], 10**9, block_size=24, seed=1, temperature=1.0)
    assert list(itertools.islice(tokens, 5)) == some(5)
    assert torch.is_grad_enabled()


def test_the_end_token_ends_it():
    whole = some()
    end = whole[10]
    assert some(end=end) == whole[: whole.index(end)]


def test_a_long_prompt_counts_by_its_end():
    made, prompt = model(), torch.randint(0, 30, (100,)).tolist()
    how = {"block_size": 24, "temperature": 0}
    assert list(stream(made, prompt, 1, **how)) == list(stream(made, prompt[-24:], 1, **how))


def draws(n=4000, temperature=1.0, top_k=None, top_p=1.0):
    logits, generator = torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), torch.Generator().manual_seed(0)
    found = [pick(logits[[2, 0, 3, 1]], temperature, top_k, top_p, generator) for _ in range(n)]
    return torch.bincount(torch.tensor(found), minlength=4)[[1, 3, 0, 2]] / n


def test_draws_follow_the_probabilities():
    assert torch.allclose(draws(), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03)
    cold = torch.tensor([0.5, 0.3, 0.15, 0.05]) ** 2
    assert torch.allclose(draws(temperature=0.5), cold / cold.sum(), atol=0.03)
    assert draws(10, temperature=0).tolist() == [1, 0, 0, 0]


def test_few_tokens_remain_where_asked():
    assert torch.allclose(draws(top_k=2), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03)
    assert torch.allclose(draws(top_p=0.6), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03)
    assert draws(top_p=0.5).tolist() == [1, 0, 0, 0]
    assert draws(10, top_k=1).tolist() == [1, 0, 0, 0]
    assert torch.allclose(draws(top_k=10), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n is 0"),
        ({"temperature": -1}, "temperature is -1; it must be at least 0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0}, "top_p is 0; expected a share"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(options, words):
    with pytest.raises(SettingError, match=words):
        stream(model(), [1], **{"n": 5, "block_size": 24} | options)


def test_an_empty_prompt_is_refused():
    with pytest.raises(SettingError, match="the prompt is empty"):
        stream(model(), [], 5, block_size=24)
