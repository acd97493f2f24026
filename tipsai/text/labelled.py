"""DataLoaders of texts with labels."""

import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from torch import Tensor

from tipsai.core.errors import DataError, SettingError, listing, require_positive
from tipsai.data.block import Block
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import EVAL_ROWS, Loader, RowLoader, check_bs
from tipsai.data.processor import is_missing
from tipsai.data.split import PARTS, Split
from tipsai.frame.read import as_frame, read_parts, read_table
from tipsai.frame.targets import TASK_OF, check_columns, encode_target, fit_target, parts_of, target_block, target_names
from tipsai.text import corpus, defaults
from tipsai.text.augment import TextAugmentation, translate_back
from tipsai.text.blocks import TextBlock
from tipsai.text.rows import Changed, TextLoader, TextRows
from tipsai.text.tokenizers import Tokenizer, Tokens

log = logging.getLogger("tipsai")
LABEL = "label"  # the column that a folder's classes become
SHOWN = 200  # characters of a text in a table of a batch


class LabelledText(DataLoaders):
    """Loaders of texts with labels. Made by TextDataLoaders.from_df, from_file and from_folder.

    Attributes:
        task: "classification", "regression" or "multilabel".
        items: the texts of each split, as they are read.
        drawn: whether validation texts were drawn at random, so that nothing but chance divides them from training texts.
    """

    task: str
    drawn: bool = False

    @classmethod
    def from_df(
        cls,
        df: pd.DataFrame,
        text: str | Sequence[str],
        target: str | Sequence[str],
        *,
        valid_df: pd.DataFrame | None = None,
        test_df: pd.DataFrame | None = None,
        task: str | None = None,
        tokenizer: Tokenizer | None = None,
        longest: int = defaults.LONGEST,
        aug: TextAugmentation | None = None,
        splitter: Callable[[pd.DataFrame], Split] | None = None,
        valid: float | None = None,
        bs: int | None = None,
        seed: int = 0,
    ) -> Self:
        """From a DataFrame.

        Args:
            df: rows to train on; validation rows are drawn from them unless valid_df is given.
            text: the column with the text, or several, which are read one after the other. Missing texts are empty ones.
            target: the column to predict, or several columns of numbers or of yes and no.
            valid_df: rows to validate on.
            test_df: rows that learn.test() opens.
            task: "classification", "regression" or "multilabel"; told from the target by default.
            tokenizer: a fitted one, such as a language model's, lm.dls.tokenizer, where the classifier is to start from it;
                by default the words of the training texts.
            longest: tokens of a text that the network sees, from its beginning; n-grams count all of it.
            aug: changes of the training texts (DA18); none by default.
            splitter: from the frame to a Split.
            valid: the share of rows drawn for validation.
            bs: texts a batch.
            seed: of the split.

        Raises:
            DataError: there is nothing to learn from, or the target is unfit.
            ColumnError: columns are not there.
            SettingError: longest is not above 0.
        """
        require_positive("longest", longest)
        columns = [text] if isinstance(text, str) else list(text)
        targets = target_names(target)
        both = sorted({*columns} & {*targets})
        if both or not columns:
            raise SettingError(f"text is {text!r} and target {target!r}; expected columns of their own.")
        made = cls(None)
        made.task, parts = parts_of(
            {"train": df, "valid": valid_df, "test": test_df},
            targets,
            columns,
            task=task,
            splitter=splitter,
            valid=valid,
            seed=seed,
        )
        made.item_column, made.drawn = "text", valid_df is None and splitter is None
        made.items = {name: texts_of(frame, columns) for name, frame in parts.items() if len(frame)}
        y_block = target_block(parts["train"], targets, made.task)
        fit_target(y_block, parts["train"], targets)
        if not any(made.items["train"]):
            raise DataError(f"there is no text in {listing(columns)}: every row is empty or missing.")
        made.blocks = (TextBlock(columns, tokenizer, longest).fit(made.items["train"]), y_block)
        n_train = len(made.items["train"])
        made.base_bs = defaults.BS_TEXTS
        size = made.base_bs if bs is None else check_bs(bs)
        for name, texts in made.items.items():
            rows = made.rows(texts, encode_target(y_block, parts[name], targets, name))
            training = name == "train"
            changed = None if aug is None or not training else _changes(aug, made.block, list(texts))
            setattr(made, name, TextLoader(rows, size, changed) if training else RowLoader(rows, EVAL_ROWS // 4))
        made.n_epochs = defaults.n_epochs_texts(n_train)
        made._say(targets)
        return made

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        text: str | Sequence[str],
        target: str | Sequence[str],
        *,
        valid: str | Path | float | None = None,
        test: str | Path | None = None,
        **options: Any,
    ) -> Self:
        """From a CSV, TSV or Parquet file, and others for validation and test. For the other arguments see from_df."""
        return cls.from_df(read_table(path), text, target, **read_parts(valid, test), **options)

    @classmethod
    def from_folder(cls, path: str | Path, **options: Any) -> Self:
        """From a folder of class folders of text files; or of folders train, valid and test of them.

        Args:
            path: the folder.
            **options: of from_df.

        Raises:
            DataError: there are no class folders with text.
        """
        root = Path(path)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}; give one with a folder of text files for each class.")
        inside = [child for child in sorted(root.iterdir()) if child.is_dir()]
        parts = {("train", "valid", "test")[PARTS[c.name.lower()]]: c for c in inside if c.name.lower() in PARTS}
        frames = {part: _folder(place) for part, place in (parts if "train" in parts else {"train": root}).items()}
        more: dict[str, Any] = {f"{part}_df": frame for part, frame in frames.items() if part != "train"}
        return cls.from_df(frames["train"], "text", LABEL, **more, **options)

    @classmethod
    def for_prediction(cls, blocks: tuple[Block, Block]) -> Self:
        """Loaders without texts, for a reloaded model."""
        made = cls(None, blocks=blocks)
        made.task = TASK_OF[type(blocks[1])]
        return made

    @property
    def block(self) -> TextBlock:
        assert self.blocks is not None and isinstance(self.blocks[0], TextBlock)
        return self.blocks[0]

    def rows(self, texts: Sequence[str], y: tuple[Tensor, ...] = ()) -> TextRows:
        """Texts, encoded."""
        encoded = [self.block.encode(text) for text in texts]
        return TextRows([words for words, _ in encoded], [grams for _, grams in encoded], y)

    def test_dl(self, items: Any, bs: int | None = None) -> Loader:
        """A loader of new texts: a text, several, or rows with the columns of training.

        Raises:
            ColumnError: columns of training are missing.
        """
        return RowLoader(self.rows(self._texts(items)), bs or EVAL_ROWS // 4)

    def _texts(self, items: Any) -> list[str]:
        if isinstance(items, str) and not items.lower().endswith((".csv", ".tsv", ".parquet")):
            return [items]
        if isinstance(items, Sequence | pd.Series | np.ndarray) and not isinstance(items, str):
            if all(isinstance(item, str) or is_missing(item) for item in items):
                return [item if isinstance(item, str) else "" for item in items]
        frame = as_frame(items)
        check_columns(frame, self.block.columns, "new")
        return texts_of(frame, self.block.columns)

    def present(self, items: Any, loader: Loader, columns: dict[str, Any]) -> pd.DataFrame:
        index = items.index if isinstance(items, pd.DataFrame | pd.Series) else None
        return pd.DataFrame(columns, index=index)

    def show_batch(self, n: int = 9, split: str = "train", *, seed: int = 0, epoch: int = 0) -> pd.DataFrame:
        """The first texts of an epoch: the target, the text as a person reads it, and the words that the network sees."""
        made: pd.DataFrame = super().show_batch(n, split, seed=seed, epoch=epoch)
        loader = getattr(self, split)
        order = loader.order(seed, epoch)[: len(made)].tolist()
        made.insert(1, "text", [self.items[split][i][:SHOWN] for i in order])
        return made

    def _say(self, targets: Sequence[str]) -> None:
        sizes = ", ".join(f"{len(texts):,} {name}" for name, texts in self.items.items())
        empty = sum(not text.strip() for text in self.items["train"])
        log.info(
            "texts: %s; target %s, task: %s; %s tokens, %s n-grams",
            sizes,
            listing(targets),
            self.task,
            f"{self.block.tokenizer.n_tokens:,}",
            f"{self.block.grams.n:,}",
        )
        if empty:
            log.warning("%s of %s training texts are empty", f"{empty:,}", f"{len(self.items['train']):,}")


def texts_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The texts of a table's rows; several columns one after the other, a line each."""
    made = [["" if is_missing(value) else str(value) for value in frame[name].tolist()] for name in columns]
    return ["\n".join(filter(None, texts)) for texts in zip(*made, strict=True)]


def _changes(aug: TextAugmentation, block: TextBlock, texts: Sequence[str]) -> Changed:
    """The tokens of a text, augmented, by its place and a generator."""
    both = aug.back_translation
    translated = [None] * len(texts) if both is None else [translate_back(text, *both) for text in texts]

    def changed(item: int, draw: random.Random) -> Tokens:
        return block.tokens(aug(texts[item], draw, translated[item]))

    return changed


def _folder(root: Path) -> pd.DataFrame:
    """The text files of class folders as a table."""
    texts: list[str] = []
    labels: list[str] = []
    for place in sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")):
        for document in corpus.on_disk(place):
            texts.append("".join(document.pieces(0, document.size)))
            labels.append(place.name)
    if not texts:
        raise DataError(f"{root} has no folders with text files; expected one for each class.")
    return pd.DataFrame({"text": texts, LABEL: labels})
