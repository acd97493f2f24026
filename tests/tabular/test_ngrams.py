"""Character n-grams: length one, near for near spellings, the same everywhere and always."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.tabular.columns import Category
from tipsai.tabular.ngrams import LONGEST, likeness, matches, vectors

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(WORDS)
def test_each_vector_has_length_one_and_depends_on_its_text_alone(words):
    made = vectors(words, 32)
    assert made.shape == (len(words), 32) and made.dtype == np.float32
    lengths = np.linalg.norm(made, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    for word, vector in zip(words, made, strict=True):
        np.testing.assert_array_equal(vectors([word], 32)[0], vector)


def test_case_and_outer_space_do_not_matter():
    a, b = vectors(["Prof-Specialty", "  prof-specialty "], 96)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("typo", ["Masers", "Mastters", "masters.", "Mastesr", "MASTERS"])
def test_a_typo_is_nearer_than_another_word(typo):
    word, near, *far = vectors(["Masters", typo, "HS-grad", "Some-college", "11th", "Doctorate"], 96)
    assert word @ near > max(float(word @ other) for other in far) + 0.2


def test_chunks_do_not_change_anything():
    words = [f"word {i}" for i in range(20_005)]
    made = vectors(words, 8)
    np.testing.assert_array_equal(made[19_995:], vectors(words[19_995:], 8))


def test_long_texts_are_cut_and_none_is_fine():
    a, b = vectors(["x" * LONGEST + "abc", "x" * LONGEST], 16)
    np.testing.assert_array_equal(a, b)
    assert vectors([], 16).shape == (0, 16)


@pytest.mark.parametrize("text", ["Masters", "masters", "Mastrs", "Mast.", "Masterss"])
def test_a_misspelling_matches_its_word(text):
    known = ["HS-grad", "Some-college", "Masters", "11th", "Doctorate"]
    (best,), (score,) = matches([text], known)
    assert known[best] == "Masters" and score > 0.4


def test_matches_of_the_same_of_nothing_and_among_nothing():
    best, score = matches(["Rome", "zzz"], ["Rome", "Oslo"])
    assert best[0] == 0 and score[0] == pytest.approx(1, abs=0.05) and score[1] < 0.2
    assert [part.tolist() for part in matches(["Rome"], [])] == [[0], [0.0]]
    assert [part.tolist() for part in matches([], ["Rome"])] == [[], []]


def test_the_vectors_are_pinned_since_artifacts_rely_on_them():
    """Models keep weights for these very directions; another hash would spoil every file exported before."""
    (vector,) = vectors(["Berlin"], 8)
    np.testing.assert_allclose(vector, PINNED, atol=1e-6)


PINNED = [-0.1443376, -0.1443376, -0.2886751, -0.2886751, 0.5773503, -0.4330127, -0.2886751, -0.4330127]


KNOWN = ["Private", "Local-gov", "Self-emp-inc", "Married-civ-spouse", "flat 170", "LAX"]


@pytest.mark.parametrize(
    "text, meant",
    [
        ("private", "Private"),
        ("PRIVATE", "Private"),
        ("Privtae", "Private"),
        ("Priv.", "Private"),
        ("Marr.", "Married-civ-spouse"),
        ("Lcal-gov", "Local-gov"),
        ("Self-emp-inc.", "Self-emp-inc"),
    ],
)
def test_a_misspelling_is_most_like_what_it_means(text, meant):
    best, score = matches([text], KNOWN)
    assert KNOWN[best[0]] == meant and score[0] >= Category.alike


@pytest.mark.parametrize("text", ["Federal", "Ouagadougou", "flat 17", "LAS", "Italy", "", "?!"])
def test_another_word_a_number_or_a_code_is_no_misspelling(text):
    assert matches([text], KNOWN)[1][0] < Category.alike


def test_likeness_is_about_one_for_the_same_and_between_nothing_and_about_one():
    words = [name for name in sorted(sys.stdlib_module_names) if len(name) >= 4]
    alike = likeness(words, words)
    assert alike.diagonal().min() > 0.75 and alike.min() >= 0 and alike.max() <= 1


def test_a_column_s_misspellings_share_the_code_and_vector_of_the_value_they_mean():
    clean = pd.Series(["Private"] * 200 + ["Local-gov"] * 150 + ["Never-worked"] * 100)
    column = pd.concat([clean, pd.Series(["Privtae"] * 4 + ["local-gov"] * 6 + ["Zanzibar"] * 7)], ignore_index=True)
    words = Category(min_count=5, text=True).fit(column)
    assert words.values_ == ["Private", "Local-gov", "Never-worked", "Zanzibar"]
    new = pd.Series(["Private", "Privat", "PRIVATE", "Timbuktu", None])
    codes = words.encode(new)
    assert codes.tolist() == [2, 2, 2, Category.UNKNOWN, Category.MISSING_CODE]
    places, table = words.encode_text(new)
    assert (table[places[0]] == table[places[1]]).all() and (table[places[0]] == table[places[2]]).all()
    assert table[places[3]].any() and not table[places[4]].any()
    again = Category.from_dict(words.to_dict())
    assert (again.encode(new) == codes).all()
