import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats.npy import read_array, read_words


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.npy"


def raw(path, stream, shape="(1,)"):
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + stream)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bb", None, 1, 2.5], object),
        np.array([["a", "b"], ["c", "d"], ["e", "é"]], object),
        np.asfortranarray(np.array([["a", "b"], ["c", "d"], ["e", "f"]], object)),
        np.array([], object),
        np.array(["again"] * 2_000, object),
    ],
)
def test_objects_come_back_without_unpickling(path, array):
    np.save(path, array, allow_pickle=True)
    found = read_words(path)
    assert found.shape == array.shape
    assert found.tolist() == array.tolist()


def test_text_and_bytes_of_fixed_width(path):
    np.save(path, np.array([b"a", b"b\xc3\xa9"]))
    assert read_words(path).tolist() == ["a", "bé"]
    np.save(path, np.array(["x", "y"]))
    assert read_words(path).tolist() == ["x", "y"]


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/netassay-was-here",))


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "names 'os system', which could run code"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "names 'builtins eval'"),
        (b"(ios\nsystem\n.", "opcode INST"),
        (b"\x80\x02}q\x00.", "opcode EMPTY_DICT"),
        (b"\x80\x02K\x01K\x02R.", "damaged or cut"),
        (b"\x80\x02.", "damaged or cut"),
        (b"\x80\x02K\x01", "damaged or cut"),
        (b"\x80\x02cnumpy\nndarray\n.", "does not describe an array"),
        (b"", "cut"),
    ],
)
def test_streams_that_are_no_array_are_refused(path, stream, message):
    raw(path, stream)
    with pytest.raises(DataError, match=message):
        read_words(path)


def test_objects_that_run_code_are_refused_and_not_run(path):
    np.save(path, np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(DataError, match="could run code"):
        read_words(path)
    np.save(path, np.array([{"a": 1}, "x"], object), allow_pickle=True)
    with pytest.raises(DataError, match="EMPTY_DICT"):
        read_words(path)
    np.save(path, np.array([["a"], "x"], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="allowed are text, numbers and None"):
        read_words(path)


@given(st.data())
def test_damaged_streams_end_in_one_kind_of_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("npy") / "x.npy"
    np.save(path, np.array([["a", None], ["b", 1.5]], object), allow_pickle=True)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = read_words(path)
    except DataError:
        return
    assert found.dtype == object


def test_numbers_are_mapped_and_objects_are_not_numbers(path):
    np.save(path, np.arange(3))
    assert isinstance(read_array(path), np.memmap)
    np.save(path, np.array(["a"], object), allow_pickle=True)
    with pytest.raises(DataError, match="is not an array of numbers"):
        read_array(path)
