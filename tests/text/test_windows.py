import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tipsai.core.errors import DataError
from tipsai.core.state import IGNORED
from tipsai.text import windows
from tipsai.text.store import Store, opened
from tipsai.text.tokenizers import ByteTokenizer
from tipsai.text.windows import WindowLoader, Windows, eval_bs


def stream(n):
    return np.arange(n, dtype=np.uint16)


@given(st.integers(2, 200), st.integers(1, 32), st.integers(1, 7))
def test_evaluation_predicts_every_token_once(n, length, bs):
    loader = WindowLoader(Windows(stream(n), length), bs)
    seen = []
    for x, y in ((b.x[0], b.y[0]) for b in loader.batches()):
        counted = y != IGNORED
        assert torch.equal(y[counted], x[counted] + 1)
        seen += y[counted].tolist()
    assert seen == list(range(1, n))
    assert len(list(loader.batches())) == len(loader)


@given(st.integers(1, 16), st.integers(1, 300), st.integers(1, 7), st.integers(0, 5))
def test_training_predicts_every_token_at_most_once_an_epoch(length, more, bs, epoch):
    n = length + more
    loader = WindowLoader(Windows(stream(n), length), bs, shuffle=True)
    seen = []
    for batch in loader.batches(seed=3, epoch=epoch):
        (x,), (y,) = batch
        assert x.shape[1] == length and torch.equal(y, x + 1)  # whole windows, nothing padded
        seen += y.flatten().tolist()
    assert len(set(seen)) == len(seen) == loader.n_items * length
    assert len(seen) > n - 1 - 2 * length
    assert len(list(loader.batches())) == len(loader)


def test_epochs_differ_in_order_and_in_where_windows_begin():
    loader = WindowLoader(Windows(stream(1000), 10), 8, shuffle=True)
    first = [next(iter(loader.batches(seed=0, epoch=e))).x[0][:, 0] for e in range(30)]
    assert len({int(start[0]) for start in first}) > 20
    assert {int(start[0]) % 10 for start in first} == set(range(10))
    assert torch.equal(next(iter(loader.batches(seed=0, epoch=0))).x[0][:, 0], first[0])


def test_an_epoch_goes_on_from_any_batch():
    loader = WindowLoader(Windows(stream(1000), 10), 8, shuffle=True)
    whole = list(loader.batches(seed=1, epoch=2))
    rest = list(loader.batches(seed=1, epoch=2, start=5))
    assert len(rest) == len(whole) - 5
    assert all(torch.equal(a.x[0], b.x[0]) for a, b in zip(whole[5:], rest, strict=True))


@pytest.mark.parametrize("part", [7, 50, 1000])
def test_a_long_order_is_drawn_in_parts_and_leaves_nothing_out(part, monkeypatch):
    monkeypatch.setattr(windows, "PART", part)
    loader = WindowLoader(Windows(stream(1000), 10), 8, shuffle=True)
    order = loader.order(3, 1)
    assert sorted(order.tolist()) == list(range(loader.n_items)) and order.tolist() != sorted(order.tolist())
    assert not torch.equal(order, loader.order(3, 2)) and torch.equal(order, loader.order(3, 1))
    whole = list(loader.batches(seed=3, epoch=1))
    assert len(whole) == len(loader)
    for i, batch in enumerate(whole):
        expected = loader.rows.take(order[i * 8 : i * 8 + 8], loader.offset(3, 1))
        assert torch.equal(batch.x[0], expected.x[0])
    for start in (1, 5, len(loader) - 1):
        rest = list(loader.batches(seed=3, epoch=1, start=start))
        assert len(rest) == len(loader) - start
        assert all(torch.equal(a.x[0], b.x[0]) for a, b in zip(rest, whole[start:], strict=True))


def test_a_sample_is_drawn_once_and_for_all():
    loader = WindowLoader(Windows(stream(1000), 10), 8, shuffle=True)
    sample = [b.x[0] for b in loader.sample(20, seed=0)]
    assert sum(map(len, sample)) == 20
    assert all(torch.equal(a, b.x[0]) for a, b in zip(sample, loader.sample(20, seed=0), strict=True))


def test_a_sample_of_more_than_there_is_has_no_empty_batch():
    """A GPU's attention gives nothing at all for a batch of nothing, and `tipsai train` of a short text ended there."""
    loader = WindowLoader(Windows(stream(100), 10), 4, shuffle=True)
    assert [len(b.x[0]) for b in loader.sample(10**6, seed=0)] == [4, 4, 2]


def test_plain_items_are_found_by_their_position():
    loader = WindowLoader(Windows(stream(100), 10), 8, shuffle=True)
    assert loader.at([3, 0]).x[0][:, 0].tolist() == [30, 0]
    assert next(iter(loader.plain().batches())).x[0][0].tolist() == list(range(10))


def test_too_little_text_is_refused():
    with pytest.raises(DataError, match="the training text has 10 tokens, no more than a window of 10"):
        WindowLoader(Windows(stream(10), 10), 8, shuffle=True)
    with pytest.raises(DataError, match="a split of it has 1 tokens"):
        Windows(stream(1), 10)
    assert len(WindowLoader(Windows(stream(11), 10), 8, shuffle=True)) == 1


def test_a_large_vocabulary_gets_smaller_evaluation_batches():
    assert eval_bs(64, 100, 12) == 256
    assert eval_bs(1024, 50_000, 8) == 1
    assert eval_bs(8192, 100, 12) == 12


def test_many_tokens_go_to_a_file():
    store, kept = Store(np.uint16, in_memory=1000), Store(np.uint16)
    for i in range(20):
        store.add(stream(100) + i)
        kept.add(stream(100) + i)
    tokens = store.tokens()
    assert isinstance(tokens, np.memmap) and not isinstance(kept.tokens(), np.memmap)
    assert np.array_equal(tokens, kept.tokens())
    assert WindowLoader(Windows(tokens, 10), 4).at([0]).x[0].tolist() == [list(range(10))]


def test_files_of_tokens_are_mapped_and_not_written_to(tmp_path):
    tokens = (np.arange(500) % 256).astype(np.uint16)
    tokens.tofile(tmp_path / "a.bin")
    np.save(tmp_path / "a.npy", tokens)
    for name in ("a.bin", "a.npy"):
        found = opened(tmp_path / name, ByteTokenizer())
        assert isinstance(found, np.memmap) and np.array_equal(found, tokens)
        assert not found.flags.writeable, "such pages would count as memory of this process"
        assert torch.equal(Windows(found, 10).tensors()[0], torch.from_numpy(tokens))
    assert opened(tokens.astype(np.int64), ByteTokenizer()).dtype == np.uint16


def test_what_are_no_tokens_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.bin is no file of tokens"):
        opened(tmp_path / "none.bin", ByteTokenizer())
    with pytest.raises(DataError, match=r"float64 \[3\]; expected whole numbers in one dimension"):
        opened(np.ones(3), ByteTokenizer())
    with pytest.raises(DataError, match="the tokens hold the number 300, and the tokenizer has 257 tokens"):
        opened(np.array([3, 300]), ByteTokenizer())
    (tmp_path / "a.npy").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.npy is no file of tokens"):
        opened(tmp_path / "a.npy", ByteTokenizer())
