import gzip
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.text import read_lines, read_text

BODY = "a b\r\n\r\nc\n  \nd\ne\n<|endoftext|>\nf<|endoftext|>\n\n\n"


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="corpus.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


@pytest.mark.parametrize(
    ("unit", "documents", "skipped"),
    [
        ("line", ["a b", "c", "d", "e", "<|endoftext|>", "f<|endoftext|>"], {"blank line": 4}),
        ("paragraph", ["a b", "c", "d\ne\n<|endoftext|>\nf<|endoftext|>"], {}),
        ("record", ["a b\n\nc\n  \nd\ne", "f"], {}),
        ("file", ["a b\n\nc\n  \nd\ne\n<|endoftext|>\nf<|endoftext|>\n\n"], {}),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_units(unit, documents, skipped, zipped, write):
    counts = Counter()
    path = write(gzip.compress(BODY.encode(), mtime=0) if zipped else BODY)
    assert list(read_text(path, unit, skipped=counts)) == documents
    assert counts == skipped


def test_records_of_another_separator(write):
    counts = Counter()
    path = write("one\n---\n\n---\ntwo\n---three")
    assert list(read_text(path, "record", separator="---", skipped=counts)) == ["one", "two", "three"]
    assert counts == {"blank record": 1}


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=5))
def test_lines_come_back_as_they_were_written(lines):
    with tempfile.TemporaryDirectory() as folder:
        for end in ("\n", "\r\n"):
            path = Path(folder) / "lines"
            path.write_bytes("".join(line + end for line in lines).encode())
            got = list(read_lines(path))
            # a byte-order mark may open a file
            assert got == [line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines)]


def test_only_line_feeds_end_lines(write):
    assert list(read_lines(write("a\rb\x0bc\x85d\u2028e\nf"))) == ["a\rb\x0bc\x85d\u2028e", "f"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b" \n\t\n"])
@pytest.mark.parametrize("unit", ["line", "paragraph", "record", "file"])
def test_nothing_is_no_document(content, unit, write):
    assert list(read_text(write(content), unit)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\ncaf\xe9 au lait\n", r"corpus.txt:2: byte 0xe9 at offset 8 is not UTF-8.*iconv"),
        (
            "wide".encode("utf-16") + b"\x00",
            r"corpus.txt:1: is UTF-16 by its first bytes, and what follows is not",
        ),
        (
            b"old\rmac\rlines\r",
            r"no line feed; its lines end with carriage returns alone.*at character 3.*tr ",
        ),
        (b"\xed\xa0\x80", r"byte 0xed at offset 0"),
        (gzip.compress(b"a\n\xff", mtime=0), r"corpus.txt:2: byte 0xff at offset 2"),
        (gzip.compress(b"text " * 1000, mtime=0)[:-12], "gzip stream is damaged or cut"),
        (b"\x1f\x8b", "gzip"),
    ],
)
def test_what_is_no_text_is_refused(content, message, write):
    with pytest.raises(DataError, match=message):
        list(read_text(write(content)))


def test_paths_and_units_are_checked(tmp_path, write):
    with pytest.raises(DataError, match=r"missing.txt: cannot be read: No such file"):
        list(read_text(tmp_path / "missing.txt"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_text(tmp_path))
    with pytest.raises(DataError, match="allowed are line, paragraph, file, record"):
        list(read_text(write("a"), "word"))
    for separator in ("", " ", "a\nb"):
        with pytest.raises(DataError, match="record separator"):
            list(read_text(write("a"), "record", separator=separator))
