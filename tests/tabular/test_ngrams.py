"""Character n-grams: length one, near for near spellings, the same everywhere and always."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.tabular.ngrams import LONGEST, matches, vectors

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
