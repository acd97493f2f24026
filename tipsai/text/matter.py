"""Which words of a text matter to a classifier: what it says without each of them."""

from typing import TYPE_CHECKING

from tipsai.core.errors import SettingError, listing
from tipsai.data.block import CategoryBlock
from tipsai.learner import Learner
from tipsai.text.labelled import LabelledText
from tipsai.text.tokenizers import WORDS

if TYPE_CHECKING:
    import pandas as pd

MOST = 400  # words of a text that are looked at, from its beginning


def words_that_matter(learn: Learner, text: str, label: object = None) -> "pd.DataFrame":
    """A row a word of a text, in order: the word, and by how much the log-probability of a class falls without it.

    Above zero speaks for the class, below zero against it. Words are left out one at a time, so that of two that say the
    same neither may seem to matter.

    Args:
        learn: a classifier of texts.
        text: one text.
        label: the class; the predicted one by default.

    Raises:
        SettingError: the learner is no classifier of texts, there is no such class, or the text has no words.

    Source: leave-one-out, as Li et al. 1612.08220 use it for words.
    """
    import pandas as pd

    blocks = learn.dls.blocks
    if not isinstance(learn.dls, LabelledText) or blocks is None or not isinstance(blocks[1], CategoryBlock):
        raise SettingError("words_that_matter is for classifiers of texts, from text_classifier_learner.")
    found = list(WORDS.finditer(text))[:MOST]
    if not found:
        raise SettingError("the text has no words.")
    without = [text[: word.start()] + text[word.end() :] for word in found]
    pred, _ = learn.get_preds(learn.dls.test_dl([text, *without]))
    said = pred.log_softmax(1)
    names = blocks[1].outputs
    if label is not None and label not in names:
        raise SettingError(f"there is no class {label!r}; expected one of {listing(names)}.")
    code = int(said[0].argmax()) if label is None else list(names).index(label)
    effects = (said[0, code] - said[1:, code]).tolist()
    return pd.DataFrame({"word": [word.group() for word in found], "effect": effects})
