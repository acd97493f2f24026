"""Language models from text to artifact: what every tokenizer's run holds to, and what is refused or said."""

import math

import numpy as np
import pytest
import torch
from helpers import At, Boom, boom, copied, same
from torch import nn

from tipsai import Callback, container, load_learner
from tipsai.core import loop
from tipsai.core.errors import DataError, SettingError
from tipsai.text import TextDataLoaders, defaults, language_model_learner, running
from tipsai.text.tokenizers import TOKENIZERS, BPETokenizer

SAYINGS = ["the cat sat on the mat. ", "a dog ran to the cat! ", "the mat was on a dog? "]
TEXT = "".join(SAYINGS[i] for i in np.random.default_rng(0).integers(0, 3, 120))


def loaders(source=TEXT, **options):
    return TextDataLoaders.language_model(source, **{"tokenizer": "char", "block_size": 16, "bs": 8} | options)


def learner(dls=None, **options):
    small = {"n_layers": 1, "n_heads": 2, "dim": 16, "seed": 0, "device": "cpu"}
    return language_model_learner(loaders() if dls is None else dls, **small | options)


def trained(n_epochs=3, **options):
    learn = learner(**options)
    learn.fit_one_cycle(n_epochs, 1e-2, progress=False)
    return learn


# --- data ---------------------------------------------------------------------------------------------------------------


def test_the_tokenizer_is_fitted_on_training_text_only():
    dls = loaders("a b c\n" * 90 + "z" * 60)
    assert "z" not in dls.tokenizer.characters_
    assert dls.counts["valid"]["unknown"] == 60


def test_byte_pairs_by_default_as_many_as_suit_the_text_and_characters_without_the_extra(monkeypatch, said):
    text = "the cat sat. a dog ran.\n" * 400
    assert loaders(text, tokenizer=None).tokenizer.n == defaults.n_tokens(8640) == 320
    assert defaults.n_tokens(1_000_000) == 1024 and defaults.n_tokens(10**9) == 8192
    monkeypatch.setattr(running, "has_byte_pairs", lambda: False)
    assert type(loaders(text, tokenizer=None).tokenizer).__name__ == "CharTokenizer"
    assert "pip install 'tipsai[text]'" in said()


def test_unknown_tokens_are_said(said):
    loaders("a b c\n" * 90 + "z" * 60)
    assert "60 valid (100.00% unknown)" in said()


def test_the_rate_rises_for_a_tenth_of_the_steps_as_the_settings_say():
    learn = learner()
    assert "warm-up 10%" in learn.settings["schedule"].value
    rates = []

    class Rates(Callback):
        def after_step(self, st):
            rates.append(st.opt.param_groups[0]["lr"])

    learn.fit_one_cycle(2, callbacks=[Rates()], progress=False)
    assert rates.index(max(rates)) == pytest.approx(0.1 * len(rates), abs=2)


def test_perplexity_is_given_with_unknown_tokens_and_without():
    text = "the cat sat. a dog ran.\n" * 60
    learn = learner(loaders(text, valid=text[:400] + "z" * 40))
    learn.fit_one_cycle(3, 1e-2, progress=False)
    figures = learn.validate()
    alone = learner(loaders(text, valid=text[:400]))
    alone.model.load_state_dict(learn.model.state_dict())
    assert abs(figures["valid_perplexity"] / figures["valid_perplexity_known"] - 1) > 0.01
    assert figures["valid_perplexity_known"] == pytest.approx(alone.validate()["valid_perplexity"], rel=0.05)
    assert "valid_perplexity_known" not in alone.validate()


def test_sizes_are_said(said):
    loaders()
    assert "tokens: 2,4" in said()


def test_documents_are_closed():
    dls = loaders(["the cat sat\n" * 20] * 3)
    end = dls.tokenizer.end
    assert int((dls.train.rows.tokens == end).sum()) == 3
    assert end not in loaders(["the cat sat\n" * 20]).train.rows.tokens


def test_validation_text_can_be_given(tmp_path):
    (tmp_path / "valid.txt").write_text("the cat sat on a mat. " * 5)
    dls = loaders(valid=tmp_path / "valid.txt", test="a dog ran.\n" * 9)
    assert dls.counts["train"]["tokens"] == len(TEXT)
    assert (dls.counts["valid"]["tokens"], dls.counts["test"]["tokens"]) == (110, 99)
    assert loaders(valid=0.5).counts["valid"]["tokens"] == len(TEXT) - len(TEXT) // 2


def test_tokens_that_are_numbers_already(tmp_path):
    coder = loaders().tokenizer
    tokens = coder.encode(TEXT)
    tokens.tofile(tmp_path / "train.bin")
    dls = TextDataLoaders.from_tokens(tmp_path / "train.bin", tokenizer=coder, block_size=16, bs=8)
    whole = loaders()
    assert dls.counts["valid"] == whole.counts["valid"]
    assert torch.equal(next(iter(dls.train)).x[0], next(iter(whole.train)).x[0])
    assert learner(dls).validate() == learner(whole).validate()


def test_show_batch_has_the_text_and_its_tokens():
    frame = loaders(tokenizer=BPETokenizer(280)).show_batch(3)
    assert list(frame.columns) == ["target", "text", "tokens"] and len(frame) == 3
    for text, target, tokens in zip(frame["text"], frame["target"], frame["tokens"], strict=True):
        first = tokens.index("|")
        assert tokens.replace("|", "") == text and target.startswith(text[first:]) and text in TEXT


# --- learning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_tokenizer_learns_writes_and_reloads(name, tmp_path):
    dls = loaders(tokenizer=BPETokenizer(280) if name == "bpe" else name)
    learn = learner(dls)
    seen = dls.tokenizer.n_tokens - len(dls.unseen())
    first = learn.validate()
    seen_only = set(dls.unseen()).isdisjoint(dls.valid.rows.tokens.tolist())
    assert not seen_only or first["valid_loss"] == pytest.approx(math.log(seen), rel=0.06)
    learn.fit_one_cycle(60 / len(dls.train), 2e-2, progress=False)
    last = learn.validate()
    assert last["valid_loss"] < 0.8 * first["valid_loss"]
    assert last["valid_perplexity"] == pytest.approx(math.exp(last["valid_loss"]))
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    how = {"n": 30, "seed": 3}
    assert again.generate("the cat", **how) == learn.generate("the cat", **how)
    assert learn.generate("the cat", **how).startswith("the cat")
    x = next(iter(dls.train)).x[0]
    learn.model.eval(), again.model.eval()
    torch.testing.assert_close(again.model(x), learn.model(x), atol=1e-6, rtol=1e-6)
    assert [b.to_dict() for b in again.dls.blocks] == [b.to_dict() for b in dls.blocks]


def test_bits_a_byte_compare_across_tokenizers():
    """One uniform guess among k characters costs log2(k) bits a byte of plain text, whatever the tokens."""
    dls = loaders(tokenizer="byte")
    row = dls.derived("valid", math.log(4))
    counts = dls.counts["valid"]
    assert row["bits_per_byte"] == pytest.approx(2 * (counts["tokens"] - 1) / counts["bytes"])
    umlauts = loaders("ä" * 400 + "\n")
    assert umlauts.derived("valid", math.log(4))["bits_per_byte"] == pytest.approx(1, rel=0.05)


def test_results_hold_what_is_promised():
    learn = trained()
    row = learn.results()
    assert {"train_loss", "valid_loss", "valid_perplexity", "valid_bits_per_byte", "tokens_per_second"} <= row.keys()
    assert row["tokens_per_second"] == pytest.approx(learn.n_steps * 8 * 16 / learn.train_seconds, rel=0.01)


def test_accumulated_batches_count_as_tokens():
    learn = learner()
    learn.fit_one_cycle(1, progress=False, accumulate=2)
    assert learn.n_batches == 2 * learn.n_steps


@pytest.mark.parametrize("at", [3, 17])
def test_a_stopped_run_goes_on_bit_for_bit(at, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)
    whole = trained(2)
    part = learner()
    stop = [At(at, boom, "before_batch")]
    with pytest.raises(Boom):
        part.fit_one_cycle(2, 1e-2, checkpoint=tmp_path / "c", checkpoint_seconds=0, callbacks=stop, progress=False)
    rest = learner()
    never = [At(10**6, boom, "before_batch")]
    rest.fit_one_cycle(
        2, 1e-2, checkpoint=tmp_path / "c", checkpoint_seconds=0, resume=True, callbacks=never, progress=False
    )
    assert same(copied(whole.model), copied(rest.model))


def test_a_tied_embedding_is_saved_once(tmp_path):
    learn = learner()
    learn.export(tmp_path / "m.tips")
    stored = container.read(tmp_path / "m.tips")[1]["model"]
    shapes = [tuple(t.shape) for t in stored.values()]
    assert shapes.count((learn.dls.tokenizer.n_tokens, 16)) == 1


def test_mixup_is_refused():
    with pytest.raises(SettingError, match="mixup is not defined for targets of NextTokenBlock"):
        learner().dls.blocks[1].mix_targets((torch.zeros(2, 3),), torch.tensor([1, 0]), torch.ones(2))


class Bigrams(nn.Module):
    """A model of one's own."""

    def __init__(self, n):
        super().__init__()
        self.table = nn.Embedding(n, n)

    def forward(self, x):
        return type("Output", (), {"logits": self.table(x)})()


def test_a_module_of_ones_own_trains_and_writes(tmp_path):
    dls = loaders()
    learn = language_model_learner(dls, Bigrams(dls.tokenizer.n_tokens), opt="adamw", seed=0)
    learn.fit_one_cycle(4, 0.3, progress=False)
    assert learn.validate()["valid_loss"] < 1.6
    text = learn.generate("the ", n=40, seed=0)
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", Bigrams(dls.tokenizer.n_tokens))
    assert again.generate("the ", n=40, seed=0) == text


# --- writing ------------------------------------------------------------------------------------------------------------


def test_a_text_ends_where_it_is_told_to():
    learn = trained(8)
    whole = learn.generate("the cat", n=200, seed=1)
    stop = whole[len("the cat") + 12 : len("the cat") + 15]
    ended = learn.generate("the cat", n=200, seed=1, stop=stop)
    assert ended == whole[: whole.index(stop, len("the cat"))] and stop not in ended[len("the cat") :]
    with pytest.raises(SettingError, match="stop is empty"):
        learn.generate("a", n=5, stop="")


def test_prompts_of_any_kind_are_gone_on_from():
    learn = trained()
    for prompt in ("", "Ω unseen ☃", "the cat " * 100):
        assert learn.generate(prompt, n=5, seed=0).startswith(prompt)


def test_pieces_are_whole_characters():
    learn = learner(loaders("äöü你好" * 300 + "\n", tokenizer="byte"))
    learn.fit_one_cycle(6, 2e-2, progress=False)
    pieces = list(learn.stream("ä", n=60, seed=0))
    assert "\ufffd" not in "".join(pieces[:-1])
    assert "".join(pieces) == learn.generate("ä", n=60, seed=0)[1:]


# --- refused and accepted -----------------------------------------------------------------------------------------------


def test_what_cannot_be_learned_from_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\0\1\2" * 99)
    with pytest.raises(DataError, match=r"there is no text in .*empty\.txt"):
        loaders(tmp_path / "empty.txt")
    with pytest.raises(DataError, match=r"binary\.txt is a binary file"):
        loaders(tmp_path / "binary.txt")
    with pytest.raises(DataError, match="the training text has 14 tokens, no more than a window of 16"):
        loaders(["a" * 16])
    with pytest.raises(SettingError, match=r"valid is 1\.5; expected a share"):
        loaders(valid=1.5)
    with pytest.raises(SettingError, match="block_size is 0"):
        loaders(block_size=0)
    with pytest.raises(SettingError, match="expected running text"):
        language_model_learner(3)


def test_bytes_that_are_no_text_are_accepted_and_said(tmp_path, said):
    path = tmp_path / "latin.txt"
    path.write_bytes("caf\u00e9 au lait. ".encode("latin-1") * 200)
    dls = loaders(path)
    assert [f.code for f in dls.findings] == ["not-utf-8"]
    assert "200 places without valid UTF-8 replaced" in said()


def test_missing_texts_are_left_out():
    dls = loaders([TEXT, None, "", float("nan"), TEXT])
    assert int((dls.train.rows.tokens == dls.tokenizer.end).sum()) == 2


def test_a_vocabulary_larger_than_the_text_supports_is_what_the_text_gives():
    dls = loaders(tokenizer=BPETokenizer(50_000))
    assert dls.tokenizer.n_tokens < 1000
