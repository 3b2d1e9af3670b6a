"""Documents on disk, written part by part and read back part by part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netassay.errors import StoreError
from netassay.formats.documents import Documents

_SHORT = (np.dtype(np.uint8), np.dtype(np.uint16))
_INT32 = np.iinfo(np.int32)


@dataclass(eq=False)
class _Run:
    """Consecutive documents whose tokens are integers of one kind; `length` is that of all, None if they differ."""

    kind: np.dtype[Any]
    documents: int
    tokens: int
    length: int | None


@dataclass(eq=False)
class Spill:
    """A file of documents: they come back in the order in which they were appended, in parts of any size.

    Tokens take 1, 2, 4 or 8 bytes each; lengths, where they differ, 8 in a second file. For the process that writes it
    only: the form is this machine's and carries no digest. Raises StoreError where the disk is full or a file cannot be
    reached.
    """

    path: Path
    documents: int = 0
    tokens: int = 0
    buffer: int = 0
    _runs: list[_Run] = field(default_factory=list)

    def append(self, part: Documents) -> None:
        """Adds the documents of a part at the end; up to `buffer` bytes of them wait in memory."""
        if not len(part):
            return
        tokens = part.tokens if part.tokens.dtype in _SHORT else _narrow(part.tokens)
        try:
            self._note_lengths(tokens.dtype, part)
            self._waiting.add(tokens)
        except OSError as error:
            raise self._unwritten(error) from error
        self.documents += len(part)
        self.tokens += len(tokens)

    def all(self) -> Documents:
        """All documents at once."""
        return Documents.concatenate(self.parts(self.tokens + self.documents))

    def parts(self, tokens_at_once: int) -> Iterator[Documents]:
        """All documents, in parts of a maximum number of tokens, and of documents, a longer document by itself."""
        if not self.documents:
            return
        try:
            self._waiting.flush()
            # empty documents alone leave nothing to write
            self.path.touch()
        except OSError as error:
            raise self._unwritten(error) from error
        try:
            with self.path.open("rb", buffering=0) as tokens, self._open_lengths() as lengths:
                for run in self._runs:
                    yield from _read(run, tokens, lengths, max(tokens_at_once, 1))
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read back: {error.strerror or error}") from error

    def remove(self) -> None:
        """Deletes the files."""
        self.path.unlink(missing_ok=True)
        self._lengths.unlink(missing_ok=True)

    def _unwritten(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be written ({error.strerror or error}); counting on disk needs room for every "
            "token used, up to 8 bytes each: name a folder with enough room, or allow more memory"
        )

    @cached_property
    def _waiting(self) -> _Waiting:
        return _Waiting(self.path, self.buffer)

    @property
    def _lengths(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lengths")

    def _open_lengths(self) -> BinaryIO | nullcontext[None]:
        return nullcontext() if all(run.length is not None for run in self._runs) else self._lengths.open("rb", 0)

    def _note_lengths(self, kind: np.dtype[Any], part: Documents) -> None:
        """Notes the documents of a part, and their lengths where they are not all the same."""
        length = part.common_length
        last = self._runs[-1] if self._runs else None
        if last is None or last.kind != kind:
            last = _Run(kind, 0, 0, length)
            self._runs.append(last)
        elif last.length is not None and last.length != length:
            _append(self._lengths, np.full(last.documents, last.length))
            last.length = None
        if last.length is None:
            _append(self._lengths, part.lengths)
        last.documents += len(part)
        last.tokens += len(part.tokens)


class _Waiting:
    """Bytes that are to be written to a file in pieces of a size."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._bytes, self._used = path, np.empty(size, np.uint8), 0

    def add(self, array: np.ndarray) -> None:
        new = np.ascontiguousarray(array).view(np.uint8)
        if self._used + len(new) > len(self._bytes):
            self.flush()
        if len(new) > len(self._bytes):
            _append(self._path, new)
        else:
            self._bytes[self._used : self._used + len(new)] = new
            self._used += len(new)

    def flush(self) -> None:
        if self._used:
            _append(self._path, self._bytes[: self._used])
        self._used = 0


def _append(path: Path, array: np.ndarray) -> None:
    with path.open("ab", buffering=0) as file:
        left = np.ascontiguousarray(array).data.cast("B")
        while left:
            left = left[file.write(left) :]


def _read(run: _Run, tokens: BinaryIO, lengths: BinaryIO | None, at_once: int) -> Iterator[Documents]:
    left = run.documents
    while left:
        if run.length is not None:
            count = min(left, max(at_once // run.length, 1))
            yield Documents.of_length(_numbers(tokens, run.kind, count * run.length), run.length)
        else:
            assert lengths is not None, "documents of several lengths have a file of them"
            count = min(left, at_once)
            offsets = np.zeros(count + 1, np.int64)
            np.cumsum(_numbers(lengths, np.dtype(np.int64), count), out=offsets[1:])
            for part in Documents(np.empty(0, run.kind), offsets).parts(at_once):
                yield Documents(_numbers(tokens, run.kind, int(part.offsets[-1])), part.offsets)
        left -= count


def _numbers(file: BinaryIO, kind: np.dtype[Any], count: int) -> np.ndarray:
    numbers = np.fromfile(file, kind, count)
    if len(numbers) != count:
        raise OSError("the file ends early")
    return numbers


def write_block(file: BinaryIO, block: Documents) -> None:
    """Writes documents as one block where the file is."""
    lengths, tokens = _narrow(block.lengths), _narrow(block.tokens)
    sizes = (len(block), lengths.itemsize, len(tokens), tokens.itemsize)
    for array in (np.array(sizes, np.int64), lengths, tokens):
        file.write(array.data)


def read_block(file: BinaryIO) -> Documents | None:
    """The block that begins where the file is; None at its end. OSError where it ends early."""
    head = np.fromfile(file, np.int64, 4)
    if not len(head):
        return None
    documents, width, tokens, size = head.tolist()
    lengths = np.fromfile(file, f"i{width}", documents)
    flat = np.fromfile(file, f"i{size}", tokens)
    offsets = np.zeros(documents + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if len(flat) != tokens or offsets[-1] != tokens:
        raise OSError("the file ends early")
    return Documents(flat, offsets)


def _narrow(array: np.ndarray) -> np.ndarray:
    """The same integers in 32 bits, where those hold them all, else in 64."""
    if array.itemsize < 4 or array.dtype == np.int32:
        return np.ascontiguousarray(array, np.int32)
    small = not len(array) or (int(array.min()) >= _INT32.min and int(array.max()) <= _INT32.max)
    # what only unsigned 64 bits hold wraps around, one to one: tokens stay as distinct as they were
    return np.ascontiguousarray(array, np.int32 if small else np.int64)
