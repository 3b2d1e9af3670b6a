from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.corpus import read_corpus
from netassay.formats.documents import Documents
from netassay.formats.token_files import read_tokens, read_tokens_in_parts

RAGGED = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6), max_size=20)


def lists(documents):
    return [d.tolist() for d in documents]


@given(RAGGED, st.integers(1, 7))
def test_sequences_come_back(documents, length):
    held = Documents.of(documents)
    assert lists(held) == documents
    assert lists(held.cut(length)) == [d[:length] for d in documents]
    long = np.array([len(d) > 2 for d in documents], bool)
    assert lists(held.select(long)) == [d for d in documents if len(d) > 2]
    assert len(held) == len(documents)


@given(RAGGED | st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n))))
def test_documents_in_another_order(documents):
    """Documents of one length are moved as rows, others token by token."""
    held = Documents.of(documents)
    lengths = set(map(len, documents))
    assert held.common_length == (lengths.pop() if len(lengths) == 1 and lengths != {0} else None)
    order = np.random.default_rng(len(documents)).permutation(len(documents))[: len(documents) // 2 + 1]
    assert lists(held.ordered(order)) == [documents[i] for i in order]
    shortest = min(map(len, documents), default=0)
    assert lists(held.without_first(shortest)) == [d[shortest:] for d in documents]


def test_one_document_by_number():
    held = Documents.of([[1], [], [2, 3]])
    assert held[-1].tolist() == [2, 3]
    assert held[1].tolist() == []
    with pytest.raises(IndexError):
        held[3]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64"])
def test_arrays_of_token_ids(dtype, tmp_path):
    rows = np.arange(12).reshape(3, 4).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    assert lists(read_tokens(tmp_path / "rows.npy")) == rows.tolist()
    np.save(tmp_path / "line.npy", np.array([5, 6, 0, 7, 0, 0, 8], dtype))
    assert lists(read_tokens(tmp_path / "line.npy")) == [[5, 6, 0, 7, 0, 0, 8]]
    assert lists(read_tokens(tmp_path / "line.npy", end=0)) == [[5, 6, 0], [7, 0], [0], [8]]
    (tmp_path / "ids.bin").write_bytes(np.array([1, 2, 9], np.dtype(dtype).newbyteorder("<")).tobytes())
    assert lists(read_tokens(tmp_path / "ids.bin", dtype=dtype, end=2)) == [[1, 2], [9]]


@given(
    st.lists(st.integers(0, 4), max_size=40),
    st.none() | st.integers(0, 4),
    st.integers(1, 9),
    st.none() | st.integers(1, 4),
)
def test_token_files_in_parts(tokens, end, size, limit):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ids.npy"
        np.save(path, np.array(tokens, np.uint16))
        if end is not None and tokens and end not in tokens:
            with pytest.raises(DataError, match=f"end token does not occur.* is {end},"):
                read_tokens(path, end=end)
            end = None
        whole = read_tokens(path, end=end)
        parts = read_tokens_in_parts(path, end=end, limit=limit, tokens_at_once=size)
        assert [d for part in parts for d in lists(part) if d] == [d[:limit] for d in lists(whole) if d]
        rows = np.array(tokens[: len(tokens) // 3 * 3], np.int32).reshape(-1, 3)
        for array in (rows, np.asfortranarray(rows)):
            np.save(path, array)
            parts = read_tokens_in_parts(path, limit=limit, tokens_at_once=size)
            assert [d for part in parts for d in lists(part)] == rows[:, :limit].tolist()


def test_arrays_that_are_refused(tmp_path):
    path = tmp_path / "ids.npy"
    for array, message in [
        (np.ones(3), "holds float64"),
        (np.zeros((2, 2, 2), int), r"shape \(2, 2, 2\)"),
        (np.array([{"a": 1}], dtype=object), "not an array of numbers"),
    ]:
        np.save(path, array)
        with pytest.raises(DataError, match=message):
            read_tokens(path)
    for content in (b"", b"no array", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not an array of numbers"):
            read_tokens(path)
    with pytest.raises(DataError, match="No such file"):
        read_tokens(tmp_path / "missing.npy")
    path.write_bytes(b"123")
    with pytest.raises(DataError, match="3 bytes are not a whole number of uint16"):
        read_tokens(path, dtype="uint16")
    with pytest.raises(DataError, match="allowed are uint8"):
        read_tokens(path, dtype="float32")


def test_the_ending_tells_the_form(tmp_path):
    texts = ["a b c", "a b"]
    (tmp_path / "c.txt").write_text("\n".join(texts))
    (tmp_path / "c.jsonl").write_text('{"text": "a b c"}\n{"text": "a b"}\n')
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "c.parquet")
    np.save(tmp_path / "c.npy", np.array([0, 1, 2, 0, 1]))
    for name in ("c.txt", "c.jsonl", "c.parquet"):
        assert lists(read_corpus(tmp_path / name).documents) == [[0, 1, 2], [0, 1]]
        assert lists(read_corpus(tmp_path / name, limit=1).documents) == [[0], [0]]
    assert lists(read_corpus(tmp_path / "c.npy", end=2).documents) == [[0, 1, 2], [0, 1]]
    with pytest.raises(DataError, match=r"c.txt: is read as text, .* not apply: column "):
        read_corpus(tmp_path / "c.txt", column="text")
    with pytest.raises(DataError, match=r"c.txt: .* not apply: end .it separates token ids"):
        read_corpus(tmp_path / "c.txt", end=0)


def test_columns_of_token_ids(tmp_path):
    ids = [[7, 1, 2], None, [], [5]]
    frame = pl.DataFrame({"ids": ids, "n": range(4)}, schema_overrides={"ids": pl.List(pl.UInt16)})
    frame.write_parquet(tmp_path / "c.parquet")
    frame.write_ipc(tmp_path / "c.arrow")
    for name in ("c.parquet", "c.arrow"):
        held = read_corpus(tmp_path / name, column="ids", limit=2)
        assert lists(held.documents) == [[7, 1], [], [5]]
        assert held.skipped == {"ids is null": 1}
    pl.DataFrame({"ids": np.arange(6).reshape(3, 2)}).write_parquet(tmp_path / "c.parquet")
    assert lists(read_corpus(tmp_path / "c.parquet", column="ids").documents) == [[0, 1], [2, 3], [4, 5]]
    pl.DataFrame({"ids": [[1, None]]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="'ids' holds a null"):
        read_corpus(tmp_path / "c.parquet", column="ids")


def test_topics_of_python():
    held = read_corpus("topics", tokenizer="characters").documents
    assert ["".join(map(chr, d)) for d in held] == list(topics.values())
    paragraphs = read_corpus("topics", document="paragraph").documents
    assert len(paragraphs) > 10 * len(held)
    with pytest.raises(DataError, match="No such file"):
        read_corpus(Path("topics"))


@given(RAGGED, st.integers(1, 9))
def test_parts_are_whole_documents(documents, size):
    held = Documents.of(documents)
    parts = list(held.parts(size))
    assert [d for part in parts for d in lists(part)] == documents
    assert all(len(part.tokens) <= size or len(part) == 1 for part in parts)
    assert lists(Documents.concatenate(parts)) == documents
    assert lists(held.first(size)) == documents[:size]


@pytest.mark.parametrize(("content", "reason"), [("", "the file is empty"), ("\n \n", "2 blank line")])
def test_an_empty_corpus_is_refused(content, reason, tmp_path):
    path = tmp_path / "empty.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=f"holds no document with a token .{reason}"):
        read_corpus(path)
