"""Named arrays in .npy and .npz files, never unpickled."""

from __future__ import annotations

import io
import math
import operator
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from netassay.errors import DataError, first_line
from netassay.inputs import refuse_odd_file, refuse_size


def holds(path: Path, name: str) -> bool:
    """Whether the .npz file or folder of .npy files has an array of that name."""
    path = Path(path)
    if path.is_dir():
        return (path / f"{name}.npy").is_file()
    refuse_odd_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            return f"{name}.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read(path: Path, name: str) -> np.ndarray:
    """The array `name` of an .npz file, or of the folder `path` with a file name.npy.

    DataError names file, byte offset, what was expected and found; arrays of Python objects are refused.
    """
    path = Path(path)
    if path.is_dir():
        where = str(path / f"{name}.npy")
        refuse_odd_file(where, "LARGEST_ARRAY")
        try:
            data = Path(where).read_bytes()
        except OSError as cause:
            raise DataError(f"{where}: cannot be read ({cause.strerror}); it must hold the array {name!r}") from None
        return _parse(where, data)
    refuse_odd_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            if f"{name}.npy" not in file.namelist():
                names = ", ".join(sorted(n.removesuffix(".npy") for n in file.namelist())) or "nothing"
                raise DataError(f"{path}: has no array {name!r}; it has: {names}")
            size = file.getinfo(f"{name}.npy").file_size
            refuse_size(f"{path}: {name}.npy", size, "LARGEST_ARRAY", phrase="unpacks to")
            data = file.read(f"{name}.npy")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise DataError(f"{path}: is not a valid .npz file ({first_line(cause)}); write it with numpy.savez") from None
    except OSError as cause:
        raise DataError(
            f"{path}: cannot be read ({cause.strerror or cause}); give an .npz file or a folder of .npy files"
        ) from None
    return _parse(f"{path}: {name}.npy", data)


def _parse(where: str, data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream)
        shape = tuple(map(operator.index, shape))
        if min(shape, default=0) < 0 or math.prod(shape) > 1 << 62:
            raise ValueError(f"the shape {shape!r:.80}")
    except Exception as cause:  # headers are read by Python's own parser, which raises many kinds
        raise DataError(f"{where}: byte 0: expected the header of a .npy array, found: {first_line(cause)}") from None
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects ({dtype}), which only a pickle keeps; save numbers instead")
    start, size = stream.tell(), math.prod(shape) * dtype.itemsize
    if len(data) - start != size:
        raise DataError(
            f"{where}: byte {min(len(data), start + size)}: expected {size:,} bytes for {dtype} of shape {shape}, "
            f"found {len(data) - start:,}; the file is cut off or damaged"
        )
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
