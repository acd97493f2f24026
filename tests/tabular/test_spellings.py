"""Which values count as spellings of each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tipsai.tabular.spellings import edits, may_be_typo, normalised, same_words, typos

LETTERS = st.text("abcd", max_size=8)


@pytest.mark.parametrize(
    "a, b, n",
    [
        ("london", "london", 0),
        ("londn", "london", 1),
        ("lodnon", "london", 1),
        ("loondon", "london", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_edits_are_counted(a, b, n):
    assert edits(a, b, most=5) == n


@given(LETTERS, LETTERS)
def test_edits_are_symmetric_and_stop_at_the_most(a, b):
    exact = edits(a, b, most=20)
    assert exact == edits(b, a, most=20) and (exact == 0) == (a == b)
    assert edits(a, b, most=2) == min(exact, 3)


@pytest.mark.parametrize("other", ["new york", "NEW YORK", "New-York", " New  York. ", "NewYork", "Néw York"])
def test_case_punctuation_and_accents_do_not_matter(other):
    assert normalised(other) == normalised("New York") == "newyork"


@pytest.mark.parametrize(
    "pair", [("1-2", "12"), ("<=50K", ">50K"), ("C++", "C#"), ("A", "a"), ("US", "us"), ("10.5 cm", "105 cm")]
)
def test_what_carries_a_meaning_stays(pair):
    assert same_words(dict.fromkeys(pair, 5)) == {}


@pytest.mark.parametrize(
    "pair, is_typo",
    [
        (("londn", "london"), True),
        (("amsterdm", "amsterdam"), True),
        (("copenhaegn", "copenhagen"), True),
        (("barzelonna", "barcelona"), True),
        (("northkorea", "southkorea"), False),
        (("atypical", "typical"), False),
        (("iran", "iraq"), False),
        (("female", "male"), False),
        (("slovakia", "slovenia"), False),
    ],
)
def test_what_may_be_a_typo(pair, is_typo):
    assert may_be_typo(*pair) is is_typo


def test_the_most_frequent_spelling_is_the_right_one():
    counts = {"London": 90, "LONDON": 4, "london": 7, "Paris": 80, "paris": 100}
    assert same_words(counts) == {"LONDON": "London", "london": "London", "Paris": "paris"}


def test_typos_of_frequent_values_are_found():
    counts = {"London": 200, "Paris": 150, "Londn": 3, "Lonndon": 1, "PARSI": 2, "Rome": 20, "Lisbon": 12, "Bristol": 1}
    assert typos(counts) == {"Londn": "London", "Lonndon": "London", "PARSI": "Paris"}


def test_frequent_neighbours_are_values_of_their_own():
    assert typos({"Austria": 60, "Australia": 90, "Slovakia": 40, "Slovenia": 50}) == {}


def test_peoples_names_are_no_typos_of_each_other():
    counts = {
        "Maria": 300,
        "Marie": 200,
        "Anna": 250,
        "Martin": 150,
        "Marvin": 60,
        "Johanna": 90,
        "Johann": 40,
        "Hanna": 30,
        "Marta": 11,
    }
    assert (
        typos(counts | {"Daniela": 9, "Daniel": 20, "Mario": 8, "Maren": 5, "Stefan": 7, "Ursula": 2, "Kevin": 3}) == {}
    )


@pytest.mark.parametrize("counts", [{}, {"a": 1}, {"": 5}, {"日本": 30, "日木": 1}])
def test_few_or_strange_values_give_nothing(counts):
    assert typos(counts) == same_words(counts) == {}
