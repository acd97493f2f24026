"""Tables from files: CSV, TSV and Parquet, with every way in which a file can be wrong named."""

import csv
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tipsai.core.errors import DataError, MissingExtraError, SettingError, listing

log = logging.getLogger("tipsai")
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
MISSING = frozenset(
    {"", "?", "na", "n/a", "#n/a", "nan", "null", "none", "nat", "<na>", "-nan", "#na"}
)  # compared in lower case


def read_table(path: str | Path, encoding: str = "utf-8") -> pd.DataFrame:
    """A table from a file; the kind is told by its name's ending.

    Args:
        path: .csv (separated by commas or, if the header has none, semicolons or tabs), .tsv, .parquet.
        encoding: of a text file.

    Raises:
        DataError: the file is missing, empty, no table, in another encoding, ragged, or has doubled column names.
        MissingExtraError: Parquet needs pyarrow.
    """
    path = Path(path)
    if not path.exists():
        near = (
            sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in SUFFIXES)[:8]
            if path.parent.is_dir()
            else []
        )
        raise DataError(
            f"there is no file {path}.{f' The folder holds {listing(near)}.' if near else ''} Check the name."
        )
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a table: a file that ends in {', '.join(SUFFIXES)}.")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no table that can be read; expected a file that ends in {', '.join(SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; expected a header and rows.")
    try:
        frame = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _text(path, encoding)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
    check_frame(frame, str(path))
    return frame


def check_frame(frame: pd.DataFrame, name: str = "the table") -> None:
    """Raises DataError unless the frame has rows and distinct column names."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{name} is a {type(frame).__name__}; expected a pandas DataFrame.")
    doubled = frame.columns[frame.columns.duplicated()].unique()
    if len(doubled):
        raise DataError(
            f"{name} has more than one column named {listing(doubled)}; rename or drop all but one of each."
        )
    if not len(frame):
        raise DataError(f"{name} has a header but no rows; expected at least one.")


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'tipsai[parquet]'") from error
    except Exception as error:  # pyarrow raises its own kinds for whatever is wrong with a file
        raise DataError(f"{path} cannot be read as Parquet ({error}). Write it anew, or give a CSV file.") from error


def _text(path: Path, encoding: str) -> pd.DataFrame:
    names, separator = _header(path, encoding)
    try:
        with warnings.catch_warnings():
            # A row longer than the header is only a warning to pandas, which then drops its end.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                encoding="utf-8-sig" if encoding == "utf-8" else encoding,
                skipinitialspace=True,
                index_col=False,
                na_values=["?"],
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, encoding, error) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _ragged(path, encoding, separator, len(names)) or DataError(
            f"{path} cannot be read as a table: {error}"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} holds no columns; expected a header and rows.") from error
    # A row that is too short ends in missing values and is no error to pandas; only then is the file read again.
    if len(frame.columns) > 1 and frame.iloc[:, -1].isna().any():
        ragged = _ragged(path, encoding, separator, len(names))
        if ragged:
            raise ragged
    frame.columns = pd.Index(names)
    return frame


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    with path.open("rb") as file:
        head = file.read(65536)
    if b"\0" in head or head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"%PDF", b"PK\x03\x04", b"GIF8")):
        utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
        fix = "It looks like UTF-16; save it as UTF-8." if utf16 else "Export the table as CSV with UTF-8 text."
        raise DataError(f"{path} is no text table: it holds binary data. {fix}")
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as text:
            first = text.readline()
            while first and not first.strip():
                first = text.readline()
            while first.count('"') % 2 and len(first) < 65536 and (more := text.readline()):
                first += more
            bare = re.sub(r'"[^"]*"', "", first)  # what stands in quotes separates nothing
            separator = "\t" if path.suffix.lower() == ".tsv" else max((",", ";", "\t", "|"), key=bare.count)
            # A header may hold line breaks within quotes, so the csv module reads on from where the first line began.
            names = next(csv.reader(_chained(first, text), delimiter=separator, skipinitialspace=True), [])
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, encoding, error) from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}.") from error
    if not any(name.strip() for name in names):
        raise DataError(f"{path} holds no header; expected a first line with the columns' names.")
    names = [name.strip() or f"unnamed_{i + 1}" for i, name in enumerate(names)]
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise DataError(
            f"{path} has more than one column named {listing(doubled)}; rename or drop all but one of each."
        )
    return names, separator


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _wrong_encoding(path: Path, encoding: str, error: UnicodeDecodeError) -> DataError:
    return DataError(
        f"{path} is not {encoding} text (byte {error.object[error.start]:#x} at position {error.start:,}). Save it as UTF-8, or read it "
        "yourself and pass the frame: pandas.read_csv(path, encoding='latin-1')."
    )


def _ragged(path: Path, encoding: str, separator: str, n: int) -> DataError | None:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as text:
        reader = csv.reader(text, delimiter=separator, skipinitialspace=True)
        try:
            for row in reader:
                if len(row) != n and any(field.strip() for field in row):  # pandas leaves out empty lines
                    return DataError(
                        f"{path} is ragged: line {reader.line_num} has {len(row)} fields, the header {n}. Quote fields that hold the separator {separator!r}."
                    )
        except csv.Error as error:
            return DataError(f"{path} cannot be read as a table: line {reader.line_num}: {error}.")
    return None


def read_parts(valid: str | Path | float | None, test: str | Path | None) -> dict[str, Any]:
    """The arguments valid_df, valid and test_df of from_df, from files; valid may be a share."""
    parts: dict[str, Any] = {"test_df": read_table(test)} if test is not None else {}
    if isinstance(valid, str | Path):
        return parts | {"valid_df": read_table(valid)}
    return parts if valid is None else parts | {"valid": valid}


def as_frame(items: Any) -> pd.DataFrame:
    """Rows in any usual form as a DataFrame with text column names."""
    if isinstance(items, str | Path):
        items = read_table(items)
    elif isinstance(items, pd.Series):
        items = items.to_frame().T.infer_objects()
    elif isinstance(items, Mapping):
        one_row = not any(isinstance(value, list | np.ndarray | pd.Series) for value in items.values())
        items = pd.DataFrame([items] if one_row else items)
    elif isinstance(items, list):
        items = pd.DataFrame(items)
    return named(items, "the input")


def named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with text as its columns' names; `name` names it in messages."""
    check_frame(frame, name)
    if all(isinstance(column, str) for column in frame.columns):
        return frame
    renamed = frame.copy(deep=False)
    renamed.columns = pd.Index([str(column) for column in frame.columns])
    check_frame(renamed, name)
    return renamed


def with_predictions(rows: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    """Rows with the columns that a model adds; columns of the same names give way, which is said."""
    replaced = [name for name in added.columns if name in rows.columns]
    if replaced:
        log.warning("the columns %s of the input are replaced", listing(replaced))
    made: pd.DataFrame = pd.concat([rows.drop(columns=replaced), added], axis=1)
    return made


def not_given(option: str, frame: pd.DataFrame) -> SettingError:
    """The mistake of leaving out an option that names a column."""
    return SettingError(f"{option} is not given; name one of the columns {listing(frame.columns, 30)}.")
