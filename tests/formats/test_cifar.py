"""CIFAR-10's binary version: records read, damage told with its byte."""

import numpy as np
import pytest

from netassay.errors import DataError
from netassay.formats.images import read_cifar


def test_records_are_labels_and_colour_planes(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8), np.array([9, 0, 4], np.uint8)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(b"".join(bytes([y]) + x.tobytes() for x, y in zip(images, labels, strict=True)))
    found, classes = read_cifar(path)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(classes, labels)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "byte 0: expected a whole number of records of 3073 bytes"),
        (bytes(3073) + b"\1", "byte 3073: .* found 1 bytes"),
        (bytes(3073) + bytes([10]) + bytes(3072), "byte 3073: expected a label of 0 to 9 .* record 1, found 10"),
        (b"\x80\x03" + bytes(50), "a pickle, which is never opened"),
        (bytes(3074), "fits CIFAR-100"),
    ],
)
def test_damage_is_reported_with_its_byte(tmp_path, data, words):
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_cifar(tmp_path / "x.bin")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="give the binary version"):
        read_cifar(tmp_path / "data_batch_1.bin")
