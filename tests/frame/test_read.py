"""Reading tables: every way of writing the same table gives the same frame, and every wrong file is named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai.core.errors import DataError, MissingExtraError
from tipsai.frame import read
from tipsai.frame.read import check_frame, read_table

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.25, -2.0], "c": ["x", "y, z", 'say "hi"']})


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "name,separator,bom",
    [("t.csv", ",", ""), ("t.csv", ";", ""), ("t.csv", "\t", ""), ("t.csv", "|", ""), ("t.csv", ",", "\ufeff")]
    + [("t.tsv", "\t", ""), ("t.txt", "\t", ""), ("T.CSV", ",", "")],
)
def test_the_same_table_however_it_is_separated(tmp_path, name, separator, bom):
    text = bom + FRAME.to_csv(index=False, sep=separator)
    pd.testing.assert_frame_equal(read_table(write(tmp_path, text, name)), FRAME)


@pytest.mark.parametrize("suffix", ["parquet", "pq"])
def test_parquet(tmp_path, suffix):
    FRAME.to_parquet(tmp_path / f"t.{suffix}")
    pd.testing.assert_frame_equal(read_table(tmp_path / f"t.{suffix}"), FRAME)


def test_a_path_may_be_text(tmp_path):
    assert len(read_table(str(write(tmp_path, "a,b\n1,2\n")))) == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_empty_lines_do_not_matter(tmp_path, newline):
    text = newline.join(["", "a, b", "1, x", "", "2, y", "   ", "3,", ""])
    frame = read_table(write(tmp_path, text))
    assert frame["a"].tolist() == [1, 2, 3] and frame["b"].tolist()[:2] == ["x", "y"] and pd.isna(frame["b"][2])


def test_a_separator_at_the_end_of_each_line_does_not_matter(tmp_path):
    frame = read_table(write(tmp_path, "a,b\n1,2,\n3,4,\n"))
    assert frame.columns.tolist() == ["a", "b"] and frame["b"].tolist() == [2, 4]


def test_a_quoted_header_may_hold_separators_quotes_and_line_breaks(tmp_path):
    text = '"price, in EUR";"two\nlines";"say ""hi"" | it\'s"\n1.5;a;2\n2.5;b;3\n'
    frame = read_table(write(tmp_path, text))
    assert frame.columns.tolist() == ["price, in EUR", "two\nlines", 'say "hi" | it\'s']
    assert frame.iloc[:, 0].tolist() == [1.5, 2.5]


def test_a_separator_within_quotes_separates_nothing(tmp_path):
    frame = read_table(write(tmp_path, 'name,"x;y;z;w"\nann,1\nbob,2\n'))
    assert frame.columns.tolist() == ["name", "x;y;z;w"]


@pytest.mark.parametrize("word", ["", "?", "NA", "N/A", "nan", "NULL", "None"])
def test_words_for_missing(tmp_path, word):
    frame = read_table(write(tmp_path, f"a,b\n1,x\n{word},y\n3,z\n"))
    assert frame["a"].isna().tolist() == [False, True, False] and frame["a"].dtype == np.float64


def test_columns_without_a_name_get_one(tmp_path):
    assert read_table(write(tmp_path, ",b\n1,2\n")).columns.tolist() == ["unnamed_1", "b"]


def test_names_in_any_script(tmp_path):
    names = ["Größe", "年齢", "a b", "it's", "возраст"]
    assert read_table(write(tmp_path, ",".join(names) + "\n1,2,3,4,5\n")).columns.tolist() == names


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8).map(lambda s: f"v{s}v")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(TEXTS, min_size=2, max_size=5, unique=True).flatmap(
        lambda names: st.tuples(
            st.just(names),
            st.lists(st.lists(TEXTS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5),
            st.sampled_from(",;\t|"),
        )
    )
)
def test_what_pandas_writes_is_read_alike(tmp_path_factory, table):
    names, rows, separator = table
    path = tmp_path_factory.mktemp("law") / "t.csv"
    frame = pd.DataFrame(rows, columns=names)
    frame.to_csv(path, index=False, sep=separator, quoting=1)
    pd.testing.assert_frame_equal(read_table(path), frame)


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(200))


@pytest.mark.parametrize(
    "name,content,says",
    [
        ("t.csv", b"", "is empty; expected a header and rows"),
        ("t.csv", b"\n\n  \n", "holds no header"),
        ("t.csv", b"a,b\n", "has a header but no rows"),
        ("t.csv", PNG, "binary data.*Export the table as CSV"),
        ("t.csv", b"PK\x03\x04abc", "binary data"),
        ("t.csv", "a,b\nx,é\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("t.csv", "a,b\nx,é\n".encode("latin-1"), "not utf-8 text.*Save it as UTF-8.*latin-1"),
        ("t.csv", "é,b\nx,y\n".encode("latin-1"), "not utf-8 text"),
        ("t.csv", b"a,b,a\n1,2,3\n", "more than one column named 'a'; rename or drop"),
        ("t.csv", b"a,b, a \n1,2,3\n", "more than one column named 'a'"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n6,7\n", "ragged: line 3 has 3 fields, the header 2.*','"),
        ("t.csv", b"a,b,c\n1,2,3\n3,4\n6,7,8\n", "ragged: line 3 has 2 fields, the header 3"),
        ("t.csv", b"a,b,c\n1,2,3,x\n3,4,5,y\n", "ragged: line 2 has 4 fields, the header 3"),
        ("t.csv", b'a,b\n1,"2\n3,4\n', "cannot be read as a table|ragged"),
        ("t.docx", b"PK\x03\x04", "expected a file that ends in .csv"),
        ("t", b"a,b\n1,2\n", "expected a file that ends in .csv"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as Parquet.*Write it anew"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){says}") as caught:
        read_table(path)
    assert name in str(caught.value)
    assert path.read_bytes() == content


def test_a_late_wrong_byte_is_found(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"1,x\n" * 50_000 + "2,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"byte 0xe9 at position .*Save it as UTF-8"):
        read_table(path)


def test_another_encoding_on_request(tmp_path):
    assert read_table(write(tmp_path, "a,b\né,1\n", encoding="latin-1"), encoding="latin-1")["a"].tolist() == ["é"]


def test_a_missing_file_names_those_that_are_there(tmp_path):
    write(tmp_path, "a\n1\n", "train.csv")
    with pytest.raises(DataError, match=r"no file .*tain.csv.*'train.csv'"):
        read_table(tmp_path / "tain.csv")
    with pytest.raises(DataError, match="no file"):
        read_table(tmp_path / "no" / "such" / "t.csv")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(DataError, match="is a folder; expected a table"):
        read_table(tmp_path)


def test_a_file_without_permission_is_a_typed_error(tmp_path, monkeypatch):
    path = write(tmp_path, "a,b\n1,2\n")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied. Check its permissions"):
        read_table(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "t.parquet")

    def absent(path):
        raise ImportError("no pyarrow")

    monkeypatch.setattr(read.pd, "read_parquet", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'tipsai\[parquet\]'"):
        read_table(tmp_path / "t.parquet")


def test_check_frame_wants_a_frame_with_rows_and_distinct_names():
    check_frame(FRAME)
    with pytest.raises(DataError, match="mine is a list; expected a pandas DataFrame"):
        check_frame([1], "mine")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no rows"):
        check_frame(FRAME.head(0))
    with pytest.raises(DataError, match="more than one column named 'a'"):
        check_frame(FRAME[["a", "b", "a"]])
