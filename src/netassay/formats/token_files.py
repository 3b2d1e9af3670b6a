"""Files of token ids: NumPy's .npy, and raw integers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError

import numpy as np

from netassay.errors import DataError
from netassay.formats.documents import Documents, rows_of


def read_tokens(path: Path, *, dtype: str | None = None, end: int | None = None) -> Documents:
    """Documents of a file of token ids: `.npy`, or raw little-endian integers of the stated `dtype`.

    A two-dimensional array holds a document a row. One dimension is one document, or, with `end`, many: each
    closes with that id, which stays its last token; tokens after the last `end` are a document without it.
    The file is mapped, not loaded. Raises DataError for files that hold anything but integers.
    """
    array = _mapped(path, dtype, end)
    return rows_of(array) if array.ndim == 2 else _closed(array, end)


def read_tokens_in_parts(
    path: Path,
    *,
    dtype: str | None = None,
    end: int | None = None,
    limit: int | None = None,
    tokens_at_once: int,
) -> Iterator[Documents]:
    """What `read_tokens` reads, cut to the first `limit` tokens of each document, in parts of whole documents.

    A part is read from about `tokens_at_once` tokens of the file, or as many as its one document has, and nothing
    of the file stays mapped once it has been used.
    """
    array = _mapped(path, dtype, end)
    if array.ndim == 2:
        rows = max(1, tokens_at_once // max(array.shape[1], 1))
        for first in range(0, len(array), rows):
            yield rows_of(np.ascontiguousarray(_read(path, dtype, slice(first, first + rows))[:, :limit]))
        return
    if end is None:
        yield rows_of(_read(path, dtype, slice(0, limit))[None])
        return
    rest = np.empty(0, array.dtype)
    for first in range(0, len(array), tokens_at_once):
        held = _closed(np.concatenate([rest, _read(path, dtype, slice(first, first + tokens_at_once))]), end)
        whole = len(held) - (held.tokens[-1] != end)
        rest = held.tokens[held.offsets[whole] :]
        if whole:
            part = held.first(whole)
            yield part if limit is None else part.cut(limit)
    if len(rest):
        yield rows_of(rest[None, :limit])


def _mapped(path: Path, dtype: str | None, end: int | None) -> np.ndarray:
    """The file as an array that is not loaded, of one dimension or of documents x tokens."""
    array = _raw(path, dtype) if dtype is not None else _npy(path)
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: holds {array.dtype}; token ids are integers")
    if array.ndim != 1 and (array.ndim != 2 or end is not None):
        raise DataError(
            f"{path}: has shape {array.shape}; allowed are documents x tokens, or one line of tokens"
            f"{' (which end= needs)' if end is not None else ''}"
        )
    return array


def _read(path: Path, dtype: str | None, rows: slice) -> np.ndarray:
    # mapped anew each time: pages that were touched count as memory for as long as their map lives
    array = _raw(path, dtype) if dtype is not None else _npy(path)
    return np.array(array[rows])


def _closed(array: np.ndarray, end: int | None) -> Documents:
    closes = np.flatnonzero(array == end) + 1 if end is not None else np.empty(0, np.int64)
    return Documents(array, np.unique(np.concatenate([[0], closes, [len(array)]]).astype(np.int64)))


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, TokenError) as error:
        raise DataError(
            f"{path}: is no array of numbers in NumPy's .npy format; write it with numpy.save, or state a dtype for "
            "raw integers"
        ) from error


def _raw(path: Path, dtype: str) -> np.ndarray:
    known = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")
    if dtype not in known:
        raise DataError(f"dtype {dtype!r} of {path}: allowed are {', '.join(known)}")
    kind = np.dtype(dtype).newbyteorder("<")
    try:
        size = path.stat().st_size
        if size % kind.itemsize:
            raise DataError(
                f"{path}: {size} bytes are no whole number of {dtype} ({kind.itemsize} bytes each)"
            )
        return np.memmap(path, dtype=kind, mode="r") if size else np.empty(0, kind)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
