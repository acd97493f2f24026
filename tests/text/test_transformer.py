import math

import pytest
import torch
from torch.nn import functional as F

from tipsai.core.errors import SettingError
from tipsai.text.transformer import Transformer, same_document


def model(**options):
    torch.manual_seed(0)
    return Transformer(**{"n_tokens": 40, "block_size": 16, "dim": 32, "n_layers": 2, "n_heads": 2} | options)


def lively(**options):
    """One whose zeros are not zero any more."""
    made = model(**options)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made.eval()


@pytest.mark.parametrize("dim", [32, 128, 512])
@pytest.mark.parametrize("tied", [True, False])
def test_the_first_loss_is_that_of_guessing_spread_evenly(tied, dim):
    made = model(dim=dim, tied=tied, n_tokens=100)
    x = torch.randint(0, 100, (32, 16))
    logits = made(x).flatten(0, 1)
    for targets in (torch.randint(0, 100, x.shape), x):  # the token itself again is no more probable than others
        losses = F.cross_entropy(logits, targets.flatten(), reduction="none")
        assert losses.mean().item() == pytest.approx(math.log(100), rel=0.1 if targets is x else 0.02)
        assert losses.std() < 0.3


def test_tokens_that_training_never_saw_get_almost_no_probability():
    made = lively(unseen=[3, 7])
    p = made(torch.randint(0, 40, (2, 8))).softmax(-1)
    assert p[..., [3, 7]].max() < 1e-7 and torch.isfinite(p.log()).all()


def test_the_embedding_is_the_output_layer_and_counts_once():
    tied, untied = ({n: p.shape for n, p in model(tied=t).named_parameters()} for t in (True, False))
    assert list(tied.values()).count((40, 32)) == 1 and list(untied.values()).count((40, 32)) == 2
    made = lively()
    made.embedding.weight.data[7] = 0  # of an input that does not occur: only its logit changes
    assert not made(torch.tensor([[1, 2]]))[..., 7].any()


def test_no_logit_depends_on_later_tokens():
    made = lively()
    x = torch.randint(0, 40, (1, 16))
    changed = x.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 40
    before, after = made(x), made(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_order_matters():
    made = lively()
    x = torch.tensor([[5, 6, 7, 8]])
    assert not torch.allclose(made(x)[0, -1], made(x[:, [1, 0, 2, 3]])[0, -1], atol=1e-3)


def test_attention_stays_within_a_document_where_asked():
    made = lively(separator=0)
    x = torch.tensor([[5, 6, 0, 7, 8, 9]])
    changed = torch.tensor([[11, 12, 0, 7, 8, 9]])
    assert torch.allclose(made(x)[:, 3:], made(changed)[:, 3:], atol=1e-5)
    assert not torch.allclose(made(x)[:, 2], made(changed)[:, 2])  # the end of a document still sees it
    open_ = lively()
    assert not torch.allclose(open_(x)[:, 3:], open_(changed)[:, 3:], atol=1e-3)


def test_a_separator_closes_its_document():
    mask = same_document(torch.tensor([[4, 0, 5]]), 0)[0, 0]
    assert mask.tolist() == [[True, False, False], [True, True, False], [False, False, True]]


@pytest.mark.parametrize("separator", [None, 0])
@pytest.mark.parametrize("steps", [[16], [1] * 16, [5, 1, 7, 3]])
def test_a_cache_gives_what_the_whole_gives(steps, separator):
    made = lively(separator=separator)
    x = torch.randint(0, 40, (2, 16))
    x[0, [0, 4, 9]], x[1, [5, 6, 15]] = 0, 0
    cache, parts = made.cache(2), []
    for part in x.split(steps, 1):
        parts.append(made(part, cache))
    assert torch.allclose(torch.cat(parts, 1), made(x), atol=1e-5)


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(SettingError, match="there are 17 tokens, and block_size is 16"):
        model()(torch.zeros(1, 17, dtype=torch.int64))
    with pytest.raises(SettingError, match=r"dim is 30 and n_heads 4; dim must be a multiple of 2 \* n_heads"):
        model(dim=30, n_heads=4)
