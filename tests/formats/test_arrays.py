"""Named arrays: NumPy's own files read back, objects and damage refused."""

import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.errors import DataError
from netassay.formats import arrays


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.arange(4, dtype=">i4")]
)
def test_what_numpy_wrote_is_read(tmp_path, array, compressed):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", x=array)
    np.save(tmp_path / "x.npy", array)
    for path in (tmp_path / "a.npz", tmp_path):
        np.testing.assert_array_equal(arrays.read(path, "x"), array)
        assert arrays.holds(path, "x")
        assert not arrays.holds(path, "y")


def test_objects_are_never_unpickled(tmp_path):
    array = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(DataError, match="Python objects"):
        arrays.read(tmp_path / "a.npz", "x")


def test_damage_is_reported(tmp_path):
    whole = npy(np.arange(10.0))
    (tmp_path / "x.npy").write_bytes(whole[:-4])
    with pytest.raises(DataError, match=f"byte {len(whole) - 4}: expected 80 bytes .* found 76"):
        arrays.read(tmp_path, "x")
    (tmp_path / "y.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="byte 0: expected the header"):
        arrays.read(tmp_path, "y")
    with pytest.raises(DataError, match="must hold the array 'z'"):
        arrays.read(tmp_path, "z")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="not a valid"):
        arrays.read(tmp_path / "bad.npz", "x")
    np.savez(tmp_path / "good.npz", a=np.ones(2))
    with pytest.raises(DataError, match="has no array 'x'; it has: a"):
        arrays.read(tmp_path / "good.npz", "x")
    data = bytearray((tmp_path / "good.npz").read_bytes())
    data[data.index(np.ones(2).tobytes())] ^= 1
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        arrays.read(tmp_path / "flipped.npz", "a")


@settings(max_examples=40)
@given(at=st.integers(0, 140), byte=st.integers(0, 255))
def test_a_changed_byte_of_the_header_is_an_array_or_a_data_error(tmp_path_factory, at, byte):
    data = bytearray(npy(np.arange(4.0)))
    data[at % len(data)] = byte
    path = tmp_path_factory.mktemp("npy")
    with zipfile.ZipFile(path / "a.npz", "w") as file:
        file.writestr("x.npy", bytes(data))
    with contextlib.suppress(DataError):
        assert isinstance(arrays.read(path / "a.npz", "x"), np.ndarray)
