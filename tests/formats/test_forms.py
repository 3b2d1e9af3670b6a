import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import subprocess
import tarfile

import numpy as np
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.formats.corpus import read_corpus

TEXT = "the cat sat\nthe dog sat\n"
ROWS = [{"text": line} for line in TEXT.splitlines()]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "id,text\n1,the cat sat\n2,the dog sat\n"


def words(corpus):
    return [list(corpus.documents.words(d.tolist())) for d in corpus.documents]


def zstandard(content):
    return subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True).stdout


@pytest.fixture
def write(tmp_path):
    def to_file(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return to_file


@pytest.mark.parametrize("packed", [None, gzip.compress, bz2.compress, lzma.compress, zstandard])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", TEXT),
        ("a", TEXT),
        ("a.jsonl", LINES),
        ("a.json", LINES),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.csv", TABLE),
        ("a.tsv", TABLE.replace(",", "\t")),
        ("a.csv", TABLE.replace(",", ";")),
    ],
)
def test_forms_and_packings_say_the_same(packed, name, content, write):
    if packed is zstandard:
        try:
            zstandard(b"")
        except OSError:
            pytest.skip("the program zstd is not here")
    contents = [content.encode()] if packed is zstandard else [content.encode(), content.encode("utf-16")]
    for text in contents:
        path = write(f"{name}.gz" if packed else name, packed(text) if packed else text)
        assert words(read_corpus(path)) == [line.split() for line in TEXT.splitlines()]


def test_binary_tables_whatever_their_names(tmp_path):
    frame = pl.DataFrame({"text": TEXT.splitlines(), "meta": [{"ids": [1, 2]}, {"ids": [3]}]})
    frame.write_parquet(tmp_path / "a.txt")
    frame.write_ipc(tmp_path / "b.parquet")
    frame.write_ipc_stream(tmp_path / "c.arrow")
    for name in ("a.txt", "b.parquet", "c.arrow"):
        assert words(read_corpus(tmp_path / name)) == [line.split() for line in TEXT.splitlines()]
        ids = read_corpus(tmp_path / name, column="meta.ids").documents
        assert [d.tolist() for d in ids] == [[1, 2], [3]]
    np.save(tmp_path / "ids.npy", np.array([[1, 2], [1, 3]]))
    (tmp_path / "ids.npy").rename(tmp_path / "ids.dat")
    assert [d.tolist() for d in read_corpus(tmp_path / "ids.dat").documents] == [[1, 2], [1, 3]]


def archive():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        file.addfile(tarfile.TarInfo("a"), io.BytesIO(b""))
    return made.getvalue()


def arrays():
    made = io.BytesIO()
    np.savez(made, a=np.arange(3))
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", arrays(), r"a zip archive .*write one array with numpy.save"),
        ("a.txt", archive(), "a tar archive; unpack it"),
        ("a.txt", gzip.compress(archive(), mtime=0), "holds a tar archive, packed; unpack it"),
        *[("a.txt", pickle.dumps(["a", 1], p), "pickle; .*write its content as JSON") for p in (0, 2, 3, 4, 5)],
        ("a.pkl", pickle.dumps(["a", 1], 1), "is a pickle by its ending"),
        ("a.txt", TEXT.encode("utf-32"), "UTF-32; convert it: iconv"),
        ("a.txt", TEXT.encode("utf-16-le"), "byte 0x00 at offset 1, as no text does; .*iconv -f UTF-16LE"),
        ("a.txt", TEXT.replace("\n", "\r"), r"carriage returns alone.*tr '\\r' '\\n'"),
        ("a.csv", TABLE.replace("\n", "\r"), "carriage returns alone"),
        ("a.txt", b"\x04\x22\x4d\x18rest", "LZ4; unpack it: lz4 -d"),
        ("a.txt", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("a.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.txt", LINES, r"looks like JSON .*rename it to .jsonl"),
        ("a", json.dumps(ROWS, indent=1), "looks like JSON"),
        ("a.txt", gzip.compress(LINES.encode(), mtime=0), "looks like JSON"),
        ("a.txt", "a\n" * 40_000 + "b\0c\n", ":40001: holds a zero byte .character 1"),
        ("a.txt", b"\x01\x02\x03 a", "3 control characters"),
        ("a.bin", TEXT, "ends in .bin, as raw token ids do; state their dtype"),
        ("a.txt.xz", lzma.compress(TEXT.encode())[:-6], "the xz stream is damaged or cut"),
        ("a.txt.bz2", bz2.compress(TEXT.encode())[:-6], "the bzip2 stream is damaged or cut"),
        (
            "a.parquet.gz",
            gzip.compress(b"PAR1", mtime=0),
            "cannot be read as Parquet .its first bytes are those of gzip",
        ),
    ],
)
def test_nothing_is_read_as_something_else(name, content, message, write):
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        read_corpus(write(name, content))


def test_a_form_may_be_stated(write):
    path = write("a.txt", LINES)
    assert words(read_corpus(path, form="jsonl")) == [line.split() for line in TEXT.splitlines()]
    assert len(read_corpus(path, form="text").documents[0]) == 8
    with pytest.raises(DataError, match="form 'jsonlines': did you mean 'jsonl'"):
        read_corpus(path, form="jsonlines")
    with pytest.raises(DataError, match="need their dtype"):
        read_corpus(path, form="raw")


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe, not a file"):
        read_corpus(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "content", "keys", "message"),
    [
        ("a.txt", TEXT, {"column": "text", "end": 1, "skip": 2}, "do not apply: column .*, end .*, skip .*"),
        (
            "a.txt",
            TEXT,
            {"dtype": "uint16"},
            "dtype uint16 is for raw token ids, and .txt is not their ending",
        ),
        ("a.txt", TEXT, {"separator": "--"}, "separator .it separates records"),
        ("a.jsonl", LINES, {"document": "line"}, "document .a row is a document"),
        ("a.jsonl", LINES, {"dtype": "uint16"}, ".jsonl is not their ending"),
        ("a.csv", TABLE, {"document": "file"}, "document"),
        (
            "a.dat",
            b"\1\0\2\0",
            {"dtype": "uint16", "tokenizer": "bytes"},
            "tokenizer .ids are tokens already",
        ),
        ("a.dat", b"\1\0\2\0", {"dtype": "uint16", "add_end": True}, "add_end"),
        ("a.dat", b"\1\0\2\0", {"dtype": "uint16", "column": "x"}, "column"),
    ],
)
def test_keys_that_mean_nothing_are_refused(name, content, keys, message, write):
    with pytest.raises(DataError, match=message):
        read_corpus(write(name, content), **keys)
