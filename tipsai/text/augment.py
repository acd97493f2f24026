"""Changes of a text that leave its label as it was (DA18): each a pure function of the text and a generator of random numbers.

DA05 holds here too: deleting a "not" changes a mood. Look at what comes out, and at validation figures with and without.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tipsai.core.errors import SettingError

TOKENS = re.compile(r"\w+|\W+")  # words, and what stands between them: nothing is left out
Change = Callable[[str, random.Random], str]


def replace_synonyms(text: str, table: Mapping[str, Sequence[str]], p: float, rng: random.Random) -> str:
    """Each word that a table knows is replaced, with probability p, by one of its synonyms; a capital letter stays one.

    Args:
        text: any.
        table: synonyms by word, in lower case.
        p: share of the known words.
        rng: where the randomness comes from.

    Source: Zhang, Zhao and LeCun 1509.01626, section 2.4.
    """

    def changed(token: str) -> str:
        others = table.get(token.lower())
        if not others or rng.random() >= p:
            return token
        chosen = rng.choice(others)
        return chosen[:1].upper() + chosen[1:] if token[:1].isupper() else chosen

    return "".join(changed(token) for token in TOKENS.findall(text))


def delete_words(text: str, p: float, rng: random.Random) -> str:
    """Each word is left out with probability p; one stays at least.

    Source: Wei and Zou 1901.11196.
    """
    tokens = TOKENS.findall(text)
    words = [i for i, token in enumerate(tokens) if token[0].isalnum() or token[0] == "_"]
    gone = {i for i in words if rng.random() < p}
    if words and len(gone) == len(words):
        gone.remove(rng.choice(words))
    kept = "".join(token for i, token in enumerate(tokens) if i not in gone)
    return re.sub(r"  +", " ", kept).strip() if gone else text


def swap_words(text: str, n: int, rng: random.Random) -> str:
    """Two words change their places, n times.

    Source: Wei and Zou 1901.11196.
    """
    tokens = TOKENS.findall(text)
    words = [i for i, token in enumerate(tokens) if token[0].isalnum() or token[0] == "_"]
    for _ in range(n if len(words) > 1 else 0):
        a, b = rng.sample(words, 2)
        tokens[a], tokens[b] = tokens[b], tokens[a]
    return "".join(tokens)


def translate_back(text: str, there: Callable[[str], str], back: Callable[[str], str]) -> str:
    """A text through another language and back, by two functions of your own.

    Source: Sennrich et al. 1511.06709.
    """
    return back(there(text))


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingError(f"{name} is {value!r}; expected a share, from 0 to 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextAugmentation:
    """Changes to make to a training text, one after the other.

    Attributes:
        synonyms: by word, in lower case.
        p_synonym: share of the words with synonyms that are replaced.
        p_delete: share of the words that are left out.
        n_swap: pairs of words that change their places.
        back_translation: (there, back), functions of a text; what they give is kept, so that each text is translated once.
        p_back: share of the times that a text is seen in which it is the translated one.

    Raises:
        SettingError: a share is none, or nothing is to be changed.
    """

    synonyms: Mapping[str, Sequence[str]] | None = None
    p_synonym: float = 0.1
    p_delete: float = 0.0
    n_swap: int = 0
    back_translation: tuple[Callable[[str], str], Callable[[str], str]] | None = None
    p_back: float = 0.5

    def __post_init__(self) -> None:
        for name in ("p_synonym", "p_delete", "p_back"):
            _share(name, getattr(self, name))
        if self.n_swap < 0:
            raise SettingError(f"n_swap is {self.n_swap}; expected a number of pairs, at least 0.")
        if not (self.synonyms or self.p_delete or self.n_swap or self.back_translation):
            raise SettingError(
                "this augmentation changes nothing; give synonyms, p_delete, n_swap or back_translation."
            )

    def __call__(self, text: str, rng: random.Random, translated: str | None = None) -> str:
        """The text changed; `translated` is what back-translation made of it."""
        if translated is not None and rng.random() < self.p_back:
            text = translated
        if self.synonyms:
            text = replace_synonyms(text, self.synonyms, self.p_synonym, rng)
        if self.p_delete:
            text = delete_words(text, self.p_delete, rng)
        return swap_words(text, self.n_swap, rng) if self.n_swap else text
