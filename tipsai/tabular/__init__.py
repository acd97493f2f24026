"""Tables: from a DataFrame or a file to predictions on new rows."""

from tipsai.frame.read import read_table
from tipsai.tabular.data import TabularDataLoaders
from tipsai.tabular.learner import tabular_learner
from tipsai.tabular.models import TabularModel, embedding_size

__all__ = ["TabularDataLoaders", "TabularModel", "embedding_size", "read_table", "tabular_learner"]
