"""Language models and classifiers of text."""

from tipsai.text.data import TextDataLoaders
from tipsai.text.learner import language_model_learner
from tipsai.text.transformer import Transformer

__all__ = ["TextDataLoaders", "Transformer", "language_model_learner"]
