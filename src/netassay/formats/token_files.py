"""Files of token ids: NumPy's .npy, and raw integers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from netassay.errors import DataError
from netassay.formats.documents import Documents, rows_of
from netassay.formats.shards import IdType
from netassay.formats.text import (
    LLM_C,
    LLM_C_HEADER,
    NPY,
    first_bytes,
    llm_c,
    reads_as_text,
    refuse_unreadable,
    signature_of,
)

MOST_IDS = 1 << 20
"""The largest vocabularies in use have some 900,000 tokens; larger raw numbers are ids of another kind, misread."""

LOOKED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class TokenFile:
    """A file of token ids and how it is read: `.npy`, or raw little-endian integers of a `dtype` after `skip` bytes.

    A two-dimensional array holds a document a row. One dimension is one document, or, with `end`, many: each
    closes with that id, which stays its last token; tokens after the last `end` are a document without it.
    """

    path: Path
    dtype: str | None = None
    end: int | None = None
    skip: int = 0

    @classmethod
    def of(cls, path: Path, dtype: str | None = None, end: int | None = None, skip: int = 0) -> TokenFile:
        """The file as stated, or as the header of llm.c states it; DataError where that disagrees with its size."""
        header = llm_c(first_bytes(path)) if dtype is None else None
        if header is None:
            return cls(path, dtype, end, skip)
        file = cls(path, header.dtype, end, LLM_C_HEADER)
        if (tokens := len(file.array())) != header.tokens:
            raise DataError(
                f"{path}: its header says {header.tokens:,} tokens of {header.dtype} and {tokens:,} follow; it was "
                "cut or is still being written: fetch it again"
            )
        return file

    def array(self) -> np.ndarray:
        """The file as an array that is mapped, not loaded, of one dimension or of documents x tokens.

        Raises DataError for what cannot be token ids so read: other kinds of numbers, a wrong size, the header of
        llm.c, text, a known form with a dtype of its own.
        """
        array = self._raw() if self.dtype is not None else self._npy()
        if array.dtype.kind not in "iu":
            raise DataError(f"{self.path}: holds {array.dtype}; token ids are integers")
        if array.ndim != 1 and (array.ndim != 2 or self.end is not None):
            raise DataError(
                f"{self.path}: has shape {array.shape}; allowed are documents x tokens, or one line of tokens"
                f"{' (which end= needs)' if self.end is not None else ''}"
            )
        return array

    @property
    def one_document(self) -> bool:
        """Whether all of the file is one document."""
        return self.end is None and self.array().ndim == 1

    def require_ids(self, ignore: int | None = None) -> None:
        """Goes through the file once; DataError where its numbers cannot be token ids as stated.

        An id to `ignore` is allowed anywhere. Refused are negative numbers, an `end` that never occurs, and raw
        numbers as a wrong dtype makes them: larger than any vocabulary, none of them small, or every second one 0.
        """
        array = self.array()
        rows = max(1, LOOKED_AT_ONCE // max(int(np.prod(array.shape[1:])), 1))
        ends, largest, smallest = False, 0, 2**64
        every_second = self.dtype is not None and array.itemsize < 8 and len(array) >= 4
        for first in range(0, len(array), rows + rows % 2):
            ids = self.read(array, slice(first, first + rows + rows % 2))
            paired = every_second and not ids.reshape(-1)[1::2].any()
            if ignore is not None:
                ids = ids[ids != ignore]
            if not ids.size:
                continue
            if ids.dtype.kind == "i" and (lowest := int(ids.min())) < 0:
                self._refuse_negative(first, ids, lowest)
            largest, smallest = max(largest, int(ids.max())), min(smallest, int(ids.min()))
            ends = ends or (self.end is not None and bool((ids == self.end).any()))
            every_second = paired
        misread = self._misread(smallest, largest, every_second) if array.size >= 4 or largest >= MOST_IDS else ""
        if self.end is not None and not ends and array.size:
            advice = misread or "give the id that closes its documents, and the dtype that it was written with"
            raise DataError(
                f"{self.path}: the end token does not occur: none of its {array.size:,} ids "
                f"({smallest:,} to {largest:,}) is {self.end}, so that all would be one document; {advice}"
            )
        if misread:
            raise DataError(f"{self.path}: {misread}")

    def _misread(self, smallest: int, largest: int, every_second: bool) -> str:
        """Why raw ids seem to have been written with another dtype, and what to do; "" if they do not."""
        if self.dtype is None:
            return ""
        advice = "state the dtype that it was written with"
        npy = "(or save the ids as .npy, which states it by itself)"
        if largest >= MOST_IDS:
            return (
                f"as {self.dtype} it holds ids up to {largest:,}, more than any vocabulary has ({MOST_IDS:,}); "
                f"{advice}, such as uint16 {npy}, and skip its header if it has one"
            )
        if smallest >= 1 << 16:
            return (
                f"as {self.dtype} it holds no id below {smallest:,}, as where two ids of two bytes each are read as "
                f"one; {advice}, such as uint16 {npy}"
            )
        if every_second and largest:
            wide = np.dtype(self.dtype).itemsize * 16
            return (
                f"as {self.dtype} every second id is 0, as where ids take twice the bytes; {advice}, such as "
                f"uint{wide} {npy}"
            )
        return ""

    def read(self, array: np.ndarray, rows: slice) -> np.ndarray:
        """A slice of the array, loaded; DataError where the file has become shorter."""
        if not isinstance(array, np.memmap) or not array.flags.c_contiguous:
            return np.array(array[rows])
        first, last, _ = rows.indices(len(array))
        width = math.prod(array.shape[1:])
        begin, count = array.offset + first * width * array.itemsize, max(last - first, 0) * width
        # not by the map: its pages count as memory once they are touched, and need a fault each
        ids = np.fromfile(self.path, array.dtype, count, offset=begin)
        if len(ids) != count:
            raise DataError(f"{self.path}: changed while it was read; read it when nothing writes to it any more")
        return ids.reshape(-1, *array.shape[1:])

    def _refuse_negative(self, first: int, ids: np.ndarray, lowest: int) -> None:
        position = [int(index) for index in np.argwhere(ids < 0)[0]]
        position[0] += first
        value = ids[ids < 0][0]
        where = f"row {position[0]}, column {position[1]}" if len(position) == 2 else f"place {position[0]}"
        if self.dtype is not None and lowest != -100:
            advice = f"state u{self.dtype} if ids are that large"
        else:
            advice = "cut rows where padding begins, or write lists of unequal length to Parquet"
        raise DataError(
            f"{self.path}: holds {value} at {where} (from 0); token ids are not negative, and -100 marks places that "
            f"a loss ignores: {advice}"
        )

    def _npy(self) -> np.ndarray:
        if self.skip:
            raise DataError(f"{self.path}: skip={self.skip} is for raw ids, with a dtype; a .npy has no such header")
        head = first_bytes(self.path)
        refuse_unreadable(self.path, head)
        try:
            array = np.load(self.path, mmap_mode="r")
            if not isinstance(array, np.ndarray):
                array.close()
                raise ValueError("a zip archive")
            return array
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except Exception as error:  # headers are read by Python's own parser, which raises many kinds
            raise DataError(
                f"{self.path}: is not an array of numbers in NumPy's .npy format; write it with numpy.save, or state a "
                "dtype for raw integers"
            ) from error

    def _raw(self) -> np.ndarray:
        if self.dtype not in get_args(IdType):
            raise DataError(f"dtype {self.dtype!r} of {self.path}: allowed are {', '.join(get_args(IdType))}")
        if self.skip < 0:
            raise DataError(f"{self.path}: skip={self.skip} is below 0; it counts the bytes of the header")
        kind = np.dtype(self.dtype).newbyteorder("<")
        self._refuse_another_form(kind.itemsize)
        try:
            size = self.path.stat().st_size - self.skip
            if size < 0:
                raise DataError(
                    f"{self.path}: skip={self.skip} is more than its {size + self.skip} bytes; skip its header alone"
                )
            if size % kind.itemsize:
                after = f" after the {self.skip} that are skipped" if self.skip else ""
                raise DataError(
                    f"{self.path}: {size} bytes{after} are not a whole number of {self.dtype} ({kind.itemsize} bytes "
                    "each); state the dtype that it was written with, and skip its header if it has one"
                )
            return np.memmap(self.path, dtype=kind, mode="r", offset=self.skip) if size else np.empty(0, kind)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _refuse_another_form(self, width: int) -> None:
        head = first_bytes(self.path)
        if self.skip:
            return
        signature = signature_of(head)
        if head.startswith(NPY):
            raise DataError(f"{self.path}: is an array of NumPy, which states its own type; leave dtype out")
        # two bytes of ids may spell a mark or a pickle by chance
        if signature is not None and len(signature.begin) > 3:
            advice = signature.advice or "leave dtype out, or unpack it first"
            raise DataError(f"{self.path}: is {signature.name} by its first bytes, not raw {self.dtype}; {advice}")
        if head.startswith(b"\x1f\x8b\x08"):
            raise DataError(f"{self.path}: is gzip by its first bytes; unpack it: gunzip FILE")
        if len(head) >= 4 and (magic := int.from_bytes(head[:4], "little")) in LLM_C:
            raise DataError(
                f"{self.path}: begins with the header of llm.c, {LLM_C_HEADER:,} bytes that are no ids; "
                f"leave dtype out, or skip={LLM_C_HEADER} leaves it out, and the ids after it are {LLM_C[magic]}"
            )
        if width > 1 and len(head) >= 32 and head.isascii() and reads_as_text(head):
            raise DataError(
                f"{self.path}: reads as text ({head[:24]!r}), not as {self.dtype}; leave dtype out (the tokenizer "
                "'bytes' takes the bytes of a text for tokens)"
            )


def read_tokens(path: Path, *, dtype: str | None = None, end: int | None = None, skip: int = 0) -> Documents:
    """Documents of a file of token ids, as `TokenFile` describes it, mapped, not loaded.

    Raises DataError for files that hold anything but token ids.
    """
    file = TokenFile.of(path, dtype, end, skip)
    file.require_ids()
    array = file.array()
    return rows_of(array) if array.ndim == 2 else _closed(array, end)


def read_tokens_in_parts(
    path: Path,
    *,
    dtype: str | None = None,
    end: int | None = None,
    skip: int = 0,
    limit: int | None = None,
    ignore: int | None = None,
    tokens_at_once: int,
) -> Iterator[Documents]:
    """What `read_tokens` reads, cut to the first `limit` tokens of each document, in parts of whole documents.

    An id to `ignore` may be negative and stays where it is.

    A part is read from about `tokens_at_once` tokens of the file, or as many as its one document has, and nothing
    of the file stays mapped once it has been used.
    """
    file = TokenFile.of(path, dtype, end, skip)
    file.require_ids(ignore)
    array = file.array()
    if array.ndim == 2:
        rows = max(1, tokens_at_once // max(array.shape[1], 1))
        for first in range(0, len(array), rows):
            yield rows_of(np.ascontiguousarray(file.read(array, slice(first, first + rows))[:, :limit]))
        return
    if end is None:
        yield rows_of(file.read(array, slice(0, limit))[None])
        return
    rest = np.empty(0, array.dtype)
    for first in range(0, len(array), tokens_at_once):
        documents = _closed(np.concatenate([rest, file.read(array, slice(first, first + tokens_at_once))]), end)
        complete = len(documents) - (documents.tokens[-1] != end)
        rest = documents.tokens[documents.offsets[complete] :]
        if complete:
            part = documents.first(complete)
            yield part if limit is None else part.cut(limit)
    if len(rest):
        yield rows_of(rest[None, :limit])


def _closed(array: np.ndarray, end: int | None) -> Documents:
    edges = np.concatenate([[0], np.flatnonzero(array == end) + 1]) if end is not None else np.zeros(1, np.int64)
    return Documents(array, edges if edges[-1] == len(array) else np.append(edges, len(array)))
