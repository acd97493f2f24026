"""Language models and classifiers of text."""

from tipsai.text.augment import TextAugmentation
from tipsai.text.classify import text_classifier_learner
from tipsai.text.data import TextDataLoaders
from tipsai.text.language import language_model_learner
from tipsai.text.matter import words_that_matter
from tipsai.text.planning import plan, scaling_fit
from tipsai.text.transformer import Transformer

__all__ = [
    "TextAugmentation",
    "TextDataLoaders",
    "Transformer",
    "language_model_learner",
    "plan",
    "scaling_fit",
    "text_classifier_learner",
    "words_that_matter",
]
