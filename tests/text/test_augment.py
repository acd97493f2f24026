import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tipsai.core.errors import SettingError
from tipsai.text.augment import TextAugmentation, delete_words, replace_synonyms, swap_words, translate_back

TEXT = "The film was good, and the plot was not bad."


def test_synonyms_replace_words_and_nothing_else():
    table = {"film": ["movie"], "the": ["this", "that"]}
    made = replace_synonyms(TEXT, table, 1.0, random.Random(0))
    assert made.split()[1] == "movie" and made[0] == "T" and made.endswith("plot was not bad.")
    assert replace_synonyms(TEXT, table, 0.0, random.Random(0)) == TEXT
    share = sum(replace_synonyms("film", table, 0.3, random.Random(i)) == "movie" for i in range(2000)) / 2000
    assert share == pytest.approx(0.3, abs=0.03)


@given(st.text(max_size=60), st.integers(0, 10**6))
def test_what_is_deleted_or_swapped_adds_nothing(text, seed):
    rng = random.Random(seed)
    assert sorted(swap_words(text, 3, rng)) == sorted(text)
    shorter = delete_words(text, 0.5, rng)
    assert len(shorter) <= len(text)
    assert delete_words(text, 0.0, rng) == text


def test_a_word_stays():
    assert all(delete_words("a b", 1.0, random.Random(i)) in ("a", "b") for i in range(9))


def test_a_text_goes_there_and_back():
    assert translate_back("ab", str.upper, lambda text: text[::-1]) == "BA"


def test_an_augmentation_is_a_function_of_its_generator():
    change = TextAugmentation(synonyms={"film": ["movie"]}, p_synonym=0.5, p_delete=0.2, n_swap=1)
    assert change(TEXT, random.Random(3)) == change(TEXT, random.Random(3))
    assert len({change(TEXT, random.Random(i)) for i in range(20)}) > 10
    back = TextAugmentation(back_translation=(str.upper, str.lower), p_back=1.0)
    assert back("Ab", random.Random(0), translated="cd") == "cd"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "this augmentation changes nothing"),
        ({"p_delete": 2}, "p_delete is 2; expected a share"),
        ({"n_swap": -1}, "n_swap is -1"),
    ],
)
def test_settings_out_of_range_are_refused(options, words):
    with pytest.raises(SettingError, match=words):
        TextAugmentation(**options)
