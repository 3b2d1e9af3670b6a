"""IDX files: what is written is read, whatever is damaged is told with its byte."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from netassay.errors import DataError
from netassay.formats import images

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encoded(array):
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(max_dims=4, max_side=4))
)


@settings(max_examples=50)
@given(array=ARRAYS, zipped=st.booleans())
def test_what_is_written_is_read(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(encoded(array), mtime=0) if zipped else encoded(array))
    found = images.read_idx(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@settings(max_examples=60)
@given(data=st.binary(max_size=60), prefix=st.sampled_from([b"", b"\0\0\x08\1", b"\0\0\x0d\2", b"\x1f\x8b"]))
def test_any_bytes_are_an_array_or_a_data_error(tmp_path_factory, data, prefix):
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(prefix + data)
    try:
        assert isinstance(images.read_idx(path), np.ndarray)
    except DataError as error:
        assert str(path) in str(error)


GOOD = encoded(np.arange(12, dtype="u1").reshape(3, 2, 2))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "byte 0: expected 00 00.*found nothing"),
        (b"PK\3\4" + GOOD[4:], "byte 0"),
        (GOOD[:9], "byte 9: expected 3 sizes up to byte 16, found the end"),
        (GOOD[:-1], r"byte 27: expected 12 bytes for the shape \(3, 2, 2\), found the end after 11"),
        (GOOD + b"\0", "byte 28: expected 12 bytes.*found more"),
        (b"\0\0\x08\1" + b"\xff" * 4, "byte 8: expected 4,294,967,295 bytes"),
        (b"\0\0\x0e\3" + b"\xff" * 12, "byte 4: the sizes"),
        (gzip.compress(GOOD, mtime=0)[:-9], "gzip file is damaged or cut off"),
    ],
)
def test_damage_is_reported_with_its_byte(tmp_path, data, words):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match=words):
        images.read_idx(tmp_path / "x")


def test_the_wrong_file_and_a_missing_one(tmp_path):
    (tmp_path / "train-labels.gz").write_bytes(gzip.compress(GOOD, mtime=0))
    with pytest.raises(DataError, match="byte 3: expected 1 dimensions, found 3"):
        images.read_idx(images.find_idx(tmp_path, "train-labels"), dimensions=1)
    with pytest.raises(DataError, match="neither t10k nor"):
        images.find_idx(tmp_path, "t10k")
    with pytest.raises(DataError, match="cannot be read"):
        images.read_idx(tmp_path)
