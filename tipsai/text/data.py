"""Where loaders of text are made."""

from tipsai.text.labelled import LabelledText
from tipsai.text.running import RunningText


class TextDataLoaders:
    """Makes loaders of text: of running text for language models, of labelled texts for classifiers."""

    language_model = RunningText.language_model
    from_tokens = RunningText.from_tokens
    from_df = LabelledText.from_df
    from_file = LabelledText.from_file
    from_folder = LabelledText.from_folder
