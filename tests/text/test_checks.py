"""What the doctor says of text. Whole runs stand in tests/doctor/gallery_modalities.py."""

import numpy as np
import pytest
from doctor.gallery_modalities import classifier, texts, words, writer

from tipsai import toys
from tipsai.core.errors import SettingError
from tipsai.doctor import CHECKS as GENERAL
from tipsai.text import TextDataLoaders
from tipsai.text.checks import FOLDS, left_out
from tipsai.text.tokenizers import WordTokenizer


def found(learn):
    said = learn.check(silent=[check.code for check in GENERAL], progress=False)
    assert not said.failed
    return {finding.code: finding for finding in said}


def labelled(frame, **options):
    return found(classifier(TextDataLoaders.from_df(frame, "text", "topic", **options), 0))


def running(text, **options):
    options = {"tokenizer": "char", "block_size": 16, "bs": 8} | options
    return found(writer(TextDataLoaders.language_model(text, **options), 0))


def test_a_word_that_one_fold_alone_has_is_unknown_to_the_others():
    tokens = np.array([2, 2, 3, 2, 2, 4] + [2] * 14)
    fold = np.repeat(np.arange(FOLDS), 2)
    shares = left_out(tokens, fold, 1, 1)
    assert shares.tolist() == [0, 0.5, 0.5] + [0] * 7
    assert left_out(np.array([1, 2] * 10), fold, 1, 1).tolist() == [0.5] * 10


def test_words_of_another_vocabulary_are_told_against_what_is_usual():
    other = texts(9, 100, vocabulary=words(np.random.default_rng(5)))
    finding = labelled(texts(0), valid_df=other)["unknown-tokens"]
    assert (finding.tip, finding.severity) == (
        "LM05",
        "warning",
    ) and "of the valid tokens are unknown" in finding.message
    assert "ByteTokenizer()" in finding.fix and finding.evidence["expected"] < 0.05


@pytest.mark.parametrize("n", [60, 300, 1000])
def test_as_many_new_words_as_such_texts_bring_are_no_matter(n):
    """Half of a long tail of words is new in every text: that is how words are."""
    rng = np.random.default_rng(n)
    frame = texts(0, n)
    frame["text"] += [" " + " ".join(f"rare{w}" for w in (1 / rng.random(3) ** 1.2).astype(int)) for _ in range(n)]
    assert "unknown-tokens" not in labelled(frame)


def test_a_tokenizer_of_other_texts_is_named():
    other = WordTokenizer(lower=True, spaces=False).fit(
        texts(0, vocabulary=words(np.random.default_rng(5)))["text"].tolist()
    )
    finding = labelled(texts(0), tokenizer=other)["unknown-tokens"]
    assert finding.severity == "warning" and "it was made for other text" in finding.message


def test_characters_that_are_new_in_validation_or_test():
    text = toys.text(6000).text
    finding = running(text, valid=[text[:500] + "ZZZZZZZZZZ"])["unknown-tokens"]
    assert finding.severity == "warning" and "1.96% of the valid tokens" in finding.message
    assert finding.fix == "tokenizer='byte' or 'bpe' knows every text."
    few = running(text, test=[text[:2000] + "ZZZ\n"])["unknown-tokens"]
    assert few.severity == "advice" and "of the test tokens" in few.message
    assert "unknown-tokens" not in running(text)


def test_bytes_know_every_text():
    assert "unknown-tokens" not in running("abc\n" * 900, valid="ÄÖÜ\n" * 99, tokenizer="byte")


def test_how_much_is_lost_of_long_texts():
    finding = labelled(texts(0, length=60), longest=30)["long-texts-cut"]
    assert finding.severity == "advice" and finding.evidence["lost"] == pytest.approx(0.5, abs=0.03)
    assert "30 tokens that the network sees of each (6" in finding.message and "longest=100" in finding.fix
    assert "long-texts-cut" not in labelled(texts(0, length=60))
    assert "long-texts-cut" not in labelled(texts(0, length=60), longest=60)


def test_the_longest_text_is_what_the_network_sees():
    dls = TextDataLoaders.from_df(texts(0), "text", "topic", longest=7)
    assert dls.block.most == 7 and dls.train.rows.tokens.lengths.max() == 7
    with pytest.raises(SettingError, match="longest is 0"):
        TextDataLoaders.from_df(texts(0), "text", "topic", longest=0)
