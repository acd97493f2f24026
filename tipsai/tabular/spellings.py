"""Which values of a nominal column are spellings of each other: in other case, with other punctuation, or with a typo (TA02)."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tipsai.tabular.ngrams import likeness

MAINS = 200  # the most frequent values, whose misspellings are looked for
RARE = 3000  # values that may be misspellings, the most frequent first
OFTEN = 10  # rows that a value has at least whose misspellings are looked for
RATIO = 10  # times that it is more frequent than a misspelling
WORTH_COMPARING = 0.3  # of ngrams.likeness: a misspelling of one or two letters is above it
SHORT, LONG = 5, 9  # letters of words that may differ by one edit, and by two
_ACCENTS = re.compile("[\u0300-\u036f]")
_LOOSE = re.compile(r"[\s_.,;:'’`\"()!?-]+")


def normalised(name: str) -> str:
    """A value without case, accents, white space and punctuation; "" where too little is left to be a word.

    What may carry a meaning stays: punctuation beside digits ("1-2" is not "12"), and signs such as + and <.
    """
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold()
    has_digit = any(map(str.isdigit, text))
    text = re.sub(r"\s+", "", text) if has_digit else _LOOSE.sub("", text)
    return text if sum(map(str.isalpha, text)) >= 3 else ""


def edits(a: str, b: str, most: int = 2) -> int:
    """Letters to insert, leave out, replace or exchange with their neighbour to make one text of the other.

    Args:
        a: a text.
        b: another.
        most: one more than this stands for all larger numbers.

    Source: Damerau, Communications of the ACM 7, 1964; four in five misspellings are a single such edit.
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, last = list[int](), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            least = min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


def may_be_typo(a: str, b: str) -> bool:
    """Whether two normalised values are a typo apart: one edit from five letters on, two from nine on.

    The first letter must be the same, which typists rarely miss: "atypical" is not "typical", "north" not "south".
    """
    short = min(len(a), len(b))
    if short < SHORT or a[0] != b[0] or a == b:
        return False
    most = 2 if short >= LONG else 1
    return edits(a, b, most) <= most


def same_words(counts: Mapping[str, int]) -> dict[str, str]:
    """From values to the most frequent one that is the same but for case, accents, white space and punctuation."""
    forms = defaultdict[str, list[str]](list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        forms[normalised(name)].append(name)
    return {other: names[0] for form, names in forms.items() if form for other in names[1:]}


def typos(counts: Mapping[str, int]) -> dict[str, str]:
    """From rare values to a frequent one that they seem to be a misspelling of.

    None where frequent values are as near to each other as rare ones to them, as in a list of people's names: there
    likeness means nothing.
    """
    by_form = defaultdict[str, int](int)
    spelt: dict[str, str] = {}  # each form as it is mostly written
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        form = normalised(name)
        if form:
            by_form[form] += counts[name]
            spelt.setdefault(form, name)
    forms = sorted(by_form, key=lambda form: (-by_form[form], form))
    mains = [form for form in forms if by_form[form] >= OFTEN][:MAINS]
    rare = [form for form in forms if mains and by_form[form] * RATIO <= by_form[mains[0]]][:RARE]
    found: dict[str, str] = {}
    for form, main in _near(rare, mains):
        if by_form[form] * RATIO <= by_form[main]:
            found.setdefault(form, main)
    among_mains = {a for a, b in _near(mains, mains) if by_form[b] / RATIO < by_form[a] < by_form[b] * RATIO}
    if len(found) * len(mains) <= 3 * len(among_mains) * len(rare):
        return {}
    return {spelt[form]: spelt[main] for form, main in found.items()}


def _near(forms: Sequence[str], mains: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs that may be a typo apart; those of a form in the order of the mains."""
    if not forms or not mains:
        return []
    places = np.argwhere(likeness(forms, mains) >= WORTH_COMPARING).tolist()
    return [(forms[i], mains[j]) for i, j in places if may_be_typo(forms[i], mains[j])]
