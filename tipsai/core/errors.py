"""What a user can do wrong. Every message says what was found, what was expected and how to fix it."""

import difflib
from collections.abc import Iterable


class TipsaiError(ValueError):
    """Base of the errors that a user can cause and mend; the command line shows them without a traceback."""


class DataError(TipsaiError):
    """The data cannot be read, or cannot be trained on."""


class ColumnError(DataError):
    """Columns are missing, doubled, or hold what the model was not trained on."""


class SettingError(TipsaiError):
    """An argument is out of range, unknown, or would be ignored."""


class ShapeError(TipsaiError):
    """Predictions and targets do not fit each other."""


class ArtifactError(TipsaiError):
    """A saved file is damaged, was changed, or is of a format that this version does not read."""


class OutputError(TipsaiError):
    """A file or folder cannot be written, or holds something that must not be lost."""


class ResumeError(TipsaiError):
    """A checkpoint does not belong to the run that asks for it."""


class NonFiniteLossError(TipsaiError, ArithmeticError):
    """The loss became infinite or not a number."""


class MissingExtraError(TipsaiError, ImportError):
    """An optional package is not installed."""


def nearest(word: str, choices: Iterable[str], before: str = "") -> str:
    """Says which of the choices a misspelt word probably meant, as a phrase to end a message with ("" if none is near).

    Args:
        word: misspelt.
        choices: right ones.
        before: what the phrase says before the choice, such as the folder of a file's name.

    >>> nearest("salry", ["age", "salary"])
    " Did you mean 'salary'?"
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {before + by_lower[found[0]]!r}?" if found else ""


def listing(words: Iterable[object], most: int = 8) -> str:
    """Joins words for a message, and says how many were left out."""
    all_words = [repr(word) for word in words]
    rest = len(all_words) - most
    return ", ".join(all_words[:most]) + (f" and {rest} more" if rest > 0 else "")


def require_positive(name: str, value: float, *, zero: bool = False) -> None:
    """Raises SettingError unless value is a finite number above zero (or zero, where that is allowed)."""
    try:
        fits = bool((value >= 0 if zero else value > 0) and value != float("inf"))
    except TypeError:
        raise SettingError(f"{name} is {value!r}; it must be a number. Give {name} another value.") from None
    if not fits:
        raise SettingError(
            f"{name} is {value!r}; it must be {'at least' if zero else 'above'} 0. Give {name} another value."
        )
