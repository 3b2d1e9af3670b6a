import struct

import numpy as np
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.formats.corpus import read_corpus
from netassay.formats.token_files import read_tokens, read_tokens_in_parts

IDS = [5, 1, 2, 9, 5, 1, 3, 9, 5, 4, 9, 9]
DOCUMENTS = [[5, 1, 2, 9], [5, 1, 3, 9], [5, 4, 9], [9]]
WIDTHS = {"uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}


@pytest.fixture
def write(tmp_path):
    def to_file(ids, dtype, head=b""):
        path = tmp_path / "ids.bin"
        path.write_bytes(head + np.array(ids, np.dtype(dtype).newbyteorder("<")).tobytes())
        return path

    return to_file


@pytest.mark.parametrize("written", WIDTHS)
@pytest.mark.parametrize("stated", WIDTHS)
def test_another_dtype_is_never_taken(written, stated, write):
    path = write(IDS, written)
    if written == stated:
        assert [d.tolist() for d in read_corpus(path, dtype=stated, end=9).documents] == DOCUMENTS
        return
    # two bytes read as one id below 65,536 may be such an id: then only the end tells
    for end in (9,) if (written, stated) == ("uint8", "uint16") else (9, None):
        with pytest.raises(DataError, match="the dtype that it was written with"):
            read_tokens(path, dtype=stated, end=end)
        with pytest.raises(DataError, match="the dtype that it was written with"):
            list(read_tokens_in_parts(path, dtype=stated, end=end, tokens_at_once=3))


def test_an_end_that_never_occurs(write):
    for dtype, end in (("uint16", 999), ("uint16", 70_000), ("uint16", -1)):
        with pytest.raises(DataError, match=f"the end token does not occur: none of its 12 ids .1 to 9. is {end}"):
            read_tokens(write(IDS, "uint16"), dtype=dtype, end=end)


@pytest.mark.parametrize(("magic", "dtype"), [(20240520, "uint16"), (20240801, "uint32")])
def test_the_header_of_llm_c(magic, dtype, write):
    path = write(IDS, dtype, head=struct.pack("<256i", magic, 1, len(IDS), *[0] * 253))
    with pytest.raises(DataError, match=f"header of llm.c, 1,024 bytes .*skip=1024 .*are {dtype}"):
        read_tokens(path, dtype=dtype, end=9)
    assert [d.tolist() for d in read_corpus(path, dtype=dtype, end=9, skip=1024).documents] == DOCUMENTS
    for skip, message in ((9999, "is more than its"), (-1, "is below 0"), (1023, "no.* whole number")):
        with pytest.raises(DataError, match=message):
            read_tokens(path, dtype=dtype, end=9, skip=skip)


def test_arrays_in_the_order_of_fortran(tmp_path):
    array = np.arange(12, dtype=np.uint16).reshape(4, 3)
    np.save(tmp_path / "ids.npy", np.asfortranarray(array))
    parts = list(read_tokens_in_parts(tmp_path / "ids.npy", tokens_at_once=5))
    assert [d.tolist() for part in parts for d in part] == array.tolist()


def test_a_file_that_becomes_shorter(write):
    path = write(IDS, "uint16")
    parts = read_tokens_in_parts(path, dtype="uint16", end=9, tokens_at_once=4)
    next(parts)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="changed while it was read"):
        list(parts)


def test_negative_ids_are_named(write, tmp_path):
    with pytest.raises(DataError, match=r"holds -100 at place 2 .*-100 marks places that a loss ignores"):
        read_tokens(write([1, 2, -100], "int16"), dtype="int16")
    with pytest.raises(DataError, match=r"holds -25536 at place 1 .*state uint16"):
        read_tokens(write([1, 40_000, 2], "uint16"), dtype="int16")
    np.save(tmp_path / "rows.npy", np.array([[1, 2, 3], [1, 2, -100]]))
    with pytest.raises(DataError, match=r"rows.npy: holds -100 at row 1, column 2"):
        read_corpus(tmp_path / "rows.npy")
    pl.DataFrame({"ids": [[1], None, [], [2, -100]]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"row 4: 'ids' holds a negative number .-100. as element 1"):
        read_corpus(tmp_path / "rows.parquet", column="ids")


def test_what_is_no_raw_file(tmp_path):
    np.save(tmp_path / "ids.npy", np.array(IDS))
    (tmp_path / "ids.npy").rename(tmp_path / "ids.bin")
    with pytest.raises(DataError, match=r"is an array of NumPy, .*leave dtype out"):
        read_tokens(tmp_path / "ids.bin", dtype="uint16")
    (tmp_path / "prose.bin").write_text("the cat sat on the mat and the dog sat on the rug\n")
    with pytest.raises(DataError, match="reads as text"):
        read_tokens(tmp_path / "prose.bin", dtype="uint16")
    (tmp_path / "ids.bin").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(DataError, match="is gzip by its first bytes"):
        read_tokens(tmp_path / "ids.bin", dtype="uint16")
