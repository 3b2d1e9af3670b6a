"""Files of images: IDX, the format of MNIST and Fashion-MNIST, plain or gzipped, and the binary version of CIFAR-10."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from netassay.errors import DataError
from netassay.inputs import refuse_odd_file, refuse_size

# third byte of the file -> big-endian type of the entries
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_MOST_BYTES = 1 << 40


def find_idx(folder: Path, name: str) -> Path:
    """The file of that name in `folder`, or the same with .gz; DataError if there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder}: has neither {name} nor {name}.gz; give the folder that holds the IDX files")


def read_idx(path: Path, *, dimensions: int | None = None) -> np.ndarray:
    """The array of an IDX file, of `dimensions` dimensions if given, in native byte order.

    Bytes: two zeros, a type, the number of dimensions, each as a big-endian 32-bit size, then the entries. DataError
    names file, byte offset (in what a gzip file holds), what was expected and what was found.
    """
    path = Path(path)
    refuse_odd_file(path)
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == _GZIP:
                with gzip.open(file) as opened:
                    return _parse(path, cast(BinaryIO, opened), dimensions)
            return _parse(path, file, dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error) as cause:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({cause}); fetch it again") from None
    except OSError as cause:
        raise DataError(f"{path}: cannot be read ({cause.strerror or cause})") from None


def _parse(path: Path, file: BinaryIO, dimensions: int | None) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise DataError(
            f"{path}: byte 0: expected 00 00, a type of {', '.join(f'{t:02x}' for t in TYPES)} and the number of "
            f"dimensions, found {magic.hex(' ') or 'nothing'}; this is not an IDX file"
        )
    if dimensions is not None and magic[3] != dimensions:
        raise DataError(f"{path}: byte 3: expected {dimensions} dimensions, found {magic[3]}; is it the right file?")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        offset = 4 + len(header)
        raise DataError(
            f"{path}: byte {offset}: expected {magic[3]} sizes up to byte {4 + 4 * magic[3]}, found the end"
        )
    shape = struct.unpack(f">{magic[3]}I", header)
    dtype = np.dtype(TYPES[magic[2]])
    start, size = 4 + len(header), math.prod(shape) * dtype.itemsize
    if size > _MOST_BYTES:
        raise DataError(f"{path}: byte 4: the sizes {shape} make {size:,} bytes; the header is damaged")
    if not size:
        raise DataError(f"{path}: byte 4: the sizes {shape} leave no entries at all; fetch the file again")
    refuse_size(path, size, "LARGEST_ARRAY", phrase=f"says that it holds the shape {shape}, which is")
    data = _bytes(file, size)
    if len(data) != size:
        more = "more" if len(data) > size else f"the end after {len(data):,}"
        raise DataError(
            f"{path}: byte {start + min(len(data), size)}: expected {size:,} bytes for the shape {shape}, found "
            f"{more}; the file is cut off or not what its header says"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _bytes(file: BinaryIO, size: int) -> bytes:
    """`size` bytes and one more if there is one, read piece by piece: a header may claim anything."""
    pieces, remaining = [], size + 1
    while remaining and (piece := file.read(min(remaining, 1 << 24))):
        pieces.append(piece)
        remaining -= len(piece)
    return b"".join(pieces)


CIFAR_RECORD = 1 + 3 * 32 * 32


CIFAR_CLASSES = 10


_BINARY = "give the binary version, with data_batch_1.bin to data_batch_5.bin and test_batch.bin"


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32), red, green, blue, 0 to 255, and labels (n,), 0 to 9, of one file, both uint8.

    DataError names file, byte offset, what was expected and what was found.
    """
    path = Path(path)
    refuse_odd_file(path, "LARGEST_ARRAY")
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise DataError(f"{path}: cannot be read ({cause.strerror}); {_BINARY}") from None
    count, remainder = divmod(len(data), CIFAR_RECORD)
    if remainder or not count:
        hint = ""
        if data[:1] == b"\x80":
            hint = "; it looks like the Python version, a pickle, which is never opened"
        elif len(data) and len(data) % (CIFAR_RECORD + 1) == 0:
            hint = "; its size fits CIFAR-100"
        raise DataError(
            f"{path}: byte {count * CIFAR_RECORD}: expected a whole number of records of "
            f"{CIFAR_RECORD} bytes, at least one, found {remainder} bytes before the end{hint}; {_BINARY}"
        )
    records = np.frombuffer(data, np.uint8).reshape(count, CIFAR_RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CIFAR_CLASSES)
    if len(wrong):
        at = int(wrong[0])
        raise DataError(
            f"{path}: byte {at * CIFAR_RECORD}: expected a label of 0 to {CIFAR_CLASSES - 1} at the start "
            f"of record {at}, found {records[at, 0]}; {_BINARY}"
        )
    return records[:, 1:].reshape(count, 3, 32, 32), records[:, 0]
