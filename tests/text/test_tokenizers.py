import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tipsai.core.errors import DataError, SettingError
from tipsai.text import tokenizers
from tipsai.text.tokenizers import (
    PIECES,
    TOKENIZERS,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    WordTokenizer,
    as_tokenizer,
    described,
    tokenizer_from,
)

SPEECH = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak. It's 1,234 “Größe” 你好 é\n"
)
texts = st.text(st.characters(codec="utf-8"), max_size=60)


def fitted(name):
    made = {"word": WordTokenizer(min_count=1), "bpe": BPETokenizer(300)}.get(name, as_tokenizer(name))
    return made.fit([SPEECH, "Speak again."])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_training_text_comes_back_as_it_was(name):
    coder = fitted(name)
    tokens = coder.encode(SPEECH)
    assert tokens.dtype == np.uint16 and tokens.max() < coder.n_tokens
    assert coder.decode(tokens) == SPEECH
    assert coder.unknown is None or coder.unknown not in tokens
    assert "".join(coder.shown(int(token)) for token in coder.encode("Speak")) == "Speak"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_is_stored_reads_alike(name):
    coder = fitted(name)
    again = tokenizer_from(json.loads(json.dumps(described(coder))))
    text = SPEECH + "unseen words Ω"
    assert type(again) is type(coder) and again.n_tokens == coder.n_tokens
    assert again.encode(text).tolist() == coder.encode(text).tolist()
    assert (again.end, again.unknown) == (coder.end, coder.unknown)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_end_of_a_document_is_a_token_without_text(name):
    coder = fitted(name)
    assert coder.end < coder.n_tokens
    assert coder.decode([*coder.encode("Speak").tolist(), coder.end]) == "Speak"
    assert coder.shown(coder.end) == "<end>"


@given(texts)
def test_bytes_tell_every_text(text):
    coder = ByteTokenizer()
    assert coder.decode(coder.encode(text)) == text


@given(texts)
def test_byte_pairs_tell_every_text(text):
    assert BPE.decode(BPE.encode(text)) == text


BPE = fitted("bpe")


@given(texts, st.integers(1, 20))
def test_a_long_text_is_encoded_in_parts_to_the_same_tokens(text, size):
    whole = BPE.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizers, "ENCODED", size)
        assert "".join(tokenizers._parts(text)) == text
        assert BPE.encode(text).tolist() == whole.tolist()


def test_a_text_of_a_million_characters():
    text = (SPEECH + " ") * (1_200_000 // len(SPEECH))
    assert len(list(tokenizers._parts(text))) == 2
    assert BPE.decode(BPE.encode(text)) == text


@given(texts)
def test_pieces_of_words_leave_nothing_out(text):
    assert "".join(PIECES.findall(text)) == text


@given(texts)
def test_characters_come_back_or_are_unknown(text):
    coder = fitted("char")
    known = set(SPEECH + "Speak again.")
    assert coder.decode(coder.encode(text)) == "".join(c if c in known else "\ufffd" for c in text)
    assert len(coder.encode(text)) == len(text)


def test_rare_characters_and_words_are_unknown():
    coder = CharTokenizer(min_count=2).fit(["aab"])
    assert coder.encode("ab").tolist() == [2, 1]
    assert CharTokenizer(most=1).fit(["aab"]).n_tokens == 3
    words = WordTokenizer(min_count=2).fit(["to be or not to be to"])
    assert words.words_ == [" be", " to"]
    assert words.decode(words.encode("x to be")) == "\ufffd to be"


def test_words_of_either_case_are_one_where_asked():
    coder = WordTokenizer(1, lower=True).fit(["Speak speak"])
    assert coder.decode(coder.encode("Speak")) == "speak"


def test_more_tokens_than_two_bytes_hold_take_four():
    coder = CharTokenizer(most=100_000).fit([chr(i) for i in range(0x20000, 0x20000 + 70_000)])
    assert coder.encode("a").dtype == np.uint32


def test_a_tokenizer_of_hugging_face_is_read_from_its_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(fitted("bpe").to_dict()["tokenizer"])
    coder = as_tokenizer(path).fit(["another text"])
    assert coder.encode(SPEECH).tolist() == fitted("bpe").encode(SPEECH).tolist()


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": 1}')
    with pytest.raises(
        DataError, match=r"tokenizer\.json is no tokenizer .*expected a tokenizer\.json of Hugging Face"
    ):
        as_tokenizer(path)
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        as_tokenizer(tmp_path / "none.json")


def test_a_misspelt_name_is_answered():
    with pytest.raises(SettingError, match="no tokenizer 'chars'. Did you mean 'char'?"):
        as_tokenizer("chars")


def test_a_tokenizer_of_ones_own_cannot_be_stored():
    class Mine(ByteTokenizer):
        pass

    with pytest.raises(SettingError, match="a Mine cannot be stored"):
        described(Mine())


def test_a_vocabulary_that_the_text_does_not_support_is_said(caplog):
    from tipsai.text import TextDataLoaders

    with caplog.at_level(logging.INFO, logger="tipsai"):
        TextDataLoaders.language_model(
            ["the cat sat on the mat. " * 200], tokenizer=BPETokenizer(20_000), block_size=8, bs=4
        )
    assert " of 20,000, which the text does not support" in caplog.text
