"""Documents on disk, written part by part and read back part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from netassay.errors import StoreError
from netassay.formats.documents import Documents

BLOCK_TOKENS = 1 << 18

_INT32 = np.iinfo(np.int32)


@dataclass(eq=False)
class Spill:
    """A file of documents: they come back in the order in which they were appended, in parts of any size.

    Tokens and lengths take 4 bytes each where 32 bits hold them. For the process that writes it only: the form is
    this machine's and carries no digest. Raises StoreError where the disk is full or the file cannot be reached.
    """

    path: Path
    documents: int = 0
    tokens: int = 0

    def append(self, part: Documents) -> None:
        """Writes the documents of a part at the end."""
        try:
            with self.path.open("ab") as file:
                for block in part.parts(BLOCK_TOKENS):
                    write_block(file, block)
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error.strerror or error}); counting on disk needs room for every "
                "token used, 4 or 8 bytes each: name a folder with enough room, or allow more memory"
            ) from error
        self.documents += len(part)
        self.tokens += len(part.tokens)

    def parts(self, tokens_at_once: int) -> Iterator[Documents]:
        """All documents, in parts as they were appended, small ones joined up to a maximum size."""
        if not self.documents:
            return
        pending: list[Documents] = []
        size = 0
        try:
            with self.path.open("rb", buffering=0) as file:
                while block := read_block(file):
                    weight = max(len(block.tokens), len(block))
                    if pending and size + weight > tokens_at_once:
                        yield Documents.concatenate(pending)
                        pending, size = [], 0
                    pending.append(block)
                    size += weight
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read back: {error.strerror or error}") from error
        yield Documents.concatenate(pending)

    def remove(self) -> None:
        """Deletes the file."""
        self.path.unlink(missing_ok=True)


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
