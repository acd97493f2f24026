import numpy as np
import pandas as pd
import pytest

from tipsai.core.errors import DataError
from tipsai.text import corpus


def text_of(spans):
    return "".join(corpus.pieces(spans))


def test_a_path_and_a_text_and_a_column(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one text\n")
    for source in (path, str(path), "one text\n", ["one text\n"], pd.Series(["one text\n", None, ""]), [path]):
        (only,) = corpus.documents(source)
        assert text_of([(only, 0, only.size)]) == "one text\n"


def test_a_folder_is_read_in_order(tmp_path):
    (tmp_path / "more").mkdir()
    for name, text in (("b.md", "second"), ("a.txt", "first"), ("more/c.txt", "third"), ("d.png", "\x89PNG\0")):
        (tmp_path / name).write_text(text)
    found = corpus.documents(tmp_path)
    assert [text_of([(d, 0, d.size)]) for d in found] == ["first", "second", "third"]


@pytest.mark.parametrize("n", [0, 1, 10, 99, 100])
def test_a_file_is_cut_between_characters(tmp_path, n):
    path = tmp_path / "a.txt"
    text = "ab" * n + "äöü你好😀" * 30
    path.write_text(text, encoding="utf-8")
    (document,) = corpus.documents(path)
    train, valid = corpus.split([document], 0.3, 0)
    assert text_of(train) + text_of(valid) == text
    assert not corpus.replaced([document])
    assert len(text_of(valid).encode()) == pytest.approx(0.3 * len(text.encode()), abs=4)


def test_a_text_is_cut_by_characters():
    train, valid = corpus.split(corpus.documents(["0123456789" * 10]), 0.1, 0)
    assert (text_of(train), text_of(valid)) == ("0123456789" * 9, "0123456789")


def test_of_few_texts_the_ends_validate_and_of_many_some():
    few = corpus.documents(["a" * 10, "b" * 20])
    assert tuple(map(text_of, corpus.split(few, 0.1, 0))) == ("a" * 9 + "b" * 18, "abb")
    many = corpus.documents([chr(97 + i % 26) * 3 for i in range(50)])
    train, valid = corpus.split(many, 0.1, 0)
    assert (len(train), len(valid)) == (45, 5)
    assert all(last == d.size for d, _, last in valid)
    assert corpus.split(many, 0.1, 0)[1] == valid != corpus.split(many, 0.1, 1)[1]


def test_some_pieces_come_from_everywhere(monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 10)
    spans = [(d, 0, d.size) for d in corpus.documents(["".join(chr(97 + i) * 10 for i in range(26)), "z" * 40])]
    assert "".join(corpus.pieces(spans, 1000)) == text_of(spans)
    assert list(corpus.pieces(spans, 100)) == [chr(97 + i) * 10 for i in range(0, 26, 3)] + ["z" * 10]


def test_pieces_are_small_and_leave_nothing_out(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PIECE", 7)
    path = tmp_path / "a.txt"
    path.write_text("äöü你好😀 and more" * 5, encoding="utf-8")
    (document,) = corpus.documents(path)
    found = list(corpus.pieces([(document, 0, document.size)]))
    assert "".join(found) == "äöü你好😀 and more" * 5 and max(map(len, found)) <= 7


def test_bytes_that_are_no_text_are_replaced_and_counted(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfcaf\xe9 and " + b"plain text " * 20)
    found = corpus.documents(path)
    assert text_of([(found[0], 0, found[0].size)]).startswith(
        "caf\ufffd and plain"
    )  # nor is the mark at the beginning text
    assert corpus.replaced(found) == {str(path): 1}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is no text in .*; it is empty"),
        (b"\x7fELF\0\0\1" * 100, "is a binary file; expected text in UTF-8"),
        (bytes(range(128, 256)) * 100, "is a binary file"),
        ("text".encode("utf-16"), "is UTF-16; expected UTF-8"),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path, content, words):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        corpus.documents(path)


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*none\.txt; give a path, or a text as a list"):
        corpus.documents(tmp_path / "none.txt")
    with pytest.raises(DataError, match="holds no text; expected files that end in"):
        corpus.documents(tmp_path)
    with pytest.raises(DataError, match="there is no text in the texts; it is empty"):
        corpus.documents(["", None, np.nan])
    with pytest.raises(DataError, match="text 1 is a int"):
        corpus.documents(["a", 3])
    with pytest.raises(DataError, match="the text is a int"):
        corpus.documents(3)
