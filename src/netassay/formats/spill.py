"""Documents written part by part and read back part by part, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netassay.errors import StoreError
from netassay.formats.documents import Documents

_SHORT = (np.dtype(np.uint8), np.dtype(np.uint16))
_INT32 = np.iinfo(np.int32)

Numbers = Callable[[np.dtype[Any], int], np.ndarray]
"""Gives the next numbers of a kind, as many as are left of those asked for."""


@dataclass(eq=False)
class _Run:
    """Consecutive documents whose tokens are integers of one kind; `length` is that of all, None if they differ."""

    kind: np.dtype[Any]
    documents: int
    tokens: int
    length: int | None


class Spill:
    """Documents in a file: they come back in the order in which they were appended, in parts of any size.

    They wait in memory in blocks of a size, which are written when they are full, or, with `waits`, not before `write`.
    Tokens take 1, 2, 4 or 8 bytes each; lengths, where they differ, 8 in a second file. For the process that writes it
    only: the form is this machine's and carries no digest. Raises StoreError where the disk is full or a file cannot be
    reached.
    """

    def __init__(self, path: Path, *, block: int = 0, waits: bool = False) -> None:
        self.path, self.documents, self.tokens = path, 0, 0
        self._runs: list[_Run] = []
        self._tokens = _Bytes(path, block, waits)
        self._lengths = _Bytes(path.with_name(f"{path.name}.lengths"), block, waits)

    @property
    def waiting(self) -> int:
        """Bytes that wait in memory."""
        return self._tokens.waiting + self._lengths.waiting

    def append(self, part: Documents) -> None:
        """Adds the documents of a part at the end."""
        if not len(part):
            return
        tokens = part.tokens if part.tokens.dtype in _SHORT else _narrow(part.tokens)
        with self._writing():
            self._note_lengths(tokens.dtype, part)
            self._tokens.add(tokens)
        self.documents += len(part)
        self.tokens += len(tokens)

    def write(self) -> None:
        """Writes what waits in memory; from then on full blocks do not wait."""
        with self._writing():
            self._tokens.write()
            self._lengths.write()

    def all(self) -> Documents:
        """All documents at once."""
        return Documents.joined([*self.parts(self.tokens + self.documents)])

    def parts(self, tokens_at_once: int) -> Iterator[Documents]:
        """All documents, in parts of a maximum number of tokens, and of documents, a longer document by itself."""
        if not self.documents:
            return
        try:
            with self._tokens.numbers() as tokens, self._lengths.numbers() as lengths:
                for run in self._runs:
                    yield from _read(run, tokens, lengths, max(tokens_at_once, 1))
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read back: {error.strerror or error}") from error

    def remove(self) -> None:
        """Deletes the files, and what waits in memory."""
        self._tokens.remove()
        self._lengths.remove()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error.strerror or error}); counting on disk needs room for every "
                "token used, up to 8 bytes each: name a folder with enough room, or allow more memory"
            ) from error

    def _note_lengths(self, kind: np.dtype[Any], part: Documents) -> None:
        """Notes the documents of a part, and their lengths where they are not all the same."""
        length = part.common_length
        last = self._runs[-1] if self._runs else None
        if last is None or last.kind != kind:
            last = _Run(kind, 0, 0, length)
            self._runs.append(last)
        elif last.length is not None and last.length != length:
            self._lengths.add(np.full(last.documents, last.length))
            last.length = None
        if last.length is None:
            self._lengths.add(part.lengths)
        last.documents += len(part)
        last.tokens += len(part.tokens)


class _Bytes:
    """The bytes of a file: those that are written, then those of blocks in memory."""

    def __init__(self, path: Path, size: int, waits: bool) -> None:
        self._path, self._size, self._waits, self._written = path, size, waits, False
        self._full: list[np.ndarray] = []
        self._last, self._used = np.empty(0, np.uint8), 0
        self.waiting = 0

    def add(self, array: np.ndarray) -> None:
        new = np.ascontiguousarray(array).view(np.uint8)
        if self._used + len(new) > len(self._last):
            self._begin_block(max(self._size, len(new) if self._waits else 0))
        if len(new) > len(self._last):
            self._append(new)
            return
        self._last[self._used : self._used + len(new)] = new
        self._used += len(new)
        self.waiting += len(new)

    def write(self) -> None:
        for block in self._blocks():
            self._append(block)
        self._full, self._used, self.waiting, self._waits = [], 0, 0, False

    @contextmanager
    def numbers(self) -> Iterator[Numbers]:
        """What gives the next numbers of a kind, from the first on."""
        if self._written:
            self.write()
            with self._path.open("rb", buffering=0) as file:
                yield partial(np.fromfile, file)
            return
        data, place = np.concatenate(self._blocks()), 0

        def following(kind: np.dtype[Any], count: int) -> np.ndarray:
            nonlocal place
            begin, place = place, place + count * kind.itemsize
            return data[begin:place].view(kind)

        yield following

    def remove(self) -> None:
        if self._written:
            self._path.unlink(missing_ok=True)
        self._full, self._last, self._used, self.waiting = [], self._last[:0], 0, 0

    def _blocks(self) -> list[np.ndarray]:
        return [*self._full, self._last[: self._used]]

    def _begin_block(self, size: int) -> None:
        if self._waits:
            self._full.append(self._last[: self._used])
            self._last, self._used = np.empty(size, np.uint8), 0
            return
        self.write()
        if len(self._last) < size:
            self._last = np.empty(size, np.uint8)

    def _append(self, block: np.ndarray) -> None:
        if len(block):
            self._written = True
            with self._path.open("ab", buffering=0) as file:
                left = block.data
                while left:
                    left = left[file.write(left) :]


def _read(run: _Run, tokens: Numbers, lengths: Numbers, at_once: int) -> Iterator[Documents]:
    left = run.documents
    while left:
        if run.length is not None:
            count = min(left, max(at_once // run.length, 1))
            yield Documents.of_length(_numbers(tokens, run.kind, count * run.length), run.length)
        else:
            count = min(left, at_once)
            offsets = np.zeros(count + 1, np.int64)
            np.cumsum(_numbers(lengths, np.dtype(np.int64), count), out=offsets[1:])
            for part in Documents(np.empty(0, run.kind), offsets).parts(at_once):
                yield Documents(_numbers(tokens, run.kind, int(part.offsets[-1])), part.offsets)
        left -= count


def _numbers(following: Numbers, kind: np.dtype[Any], count: int) -> np.ndarray:
    numbers = following(kind, count)
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
