"""Language models and classifiers of text."""

from tipsai.text.classify import text_classifier_learner
from tipsai.text.data import TextDataLoaders
from tipsai.text.language import language_model_learner
from tipsai.text.transformer import Transformer

__all__ = ["TextDataLoaders", "Transformer", "language_model_learner", "text_classifier_learner"]
