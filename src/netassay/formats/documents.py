"""Token sequences of any lengths in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from netassay.errors import DataError

DOCUMENTS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Documents:
    """A corpus: document i is `tokens[offsets[i] : offsets[i + 1]]`, possibly empty.

    `tokens` (t,) holds integers of any kind and range, `offsets` (N + 1,) rises from 0 to t.
    """

    tokens: Int[np.ndarray, " t"]
    offsets: Int64[np.ndarray, " N+1"]

    @classmethod
    def of(cls, documents: Documents | Iterable[Sequence[int]]) -> Documents:
        """The documents of an iterable of integer sequences, or the rows of a two-dimensional integer array.

        Raises DataError for what is not a sequence of integers, naming the document.
        """
        if isinstance(documents, Documents):
            return documents
        if isinstance(documents, str | bytes):
            raise DataError("the documents are one text; tokenize it first (netassay.formats.tokenizers)")
        if hasattr(documents, "__array__"):
            return rows_of(np.asarray(documents))
        if not isinstance(documents, Iterable):
            raise DataError(
                f"the documents are a {type(documents).__name__}; give an iterable of sequences of integers"
            )
        tokens, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        remaining, first = iter(documents), 0
        while chunk := list(islice(remaining, DOCUMENTS_AT_ONCE)):
            flat, sizes = _joined(chunk, first)
            tokens.append(flat)
            lengths.append(sizes)
            first += len(chunk)
        kept = tokens[1:] or tokens
        return cls(np.concatenate(kept), _edges(np.concatenate(lengths)))

    @classmethod
    def joined(cls, parts: Iterable[Documents]) -> Documents:
        """The documents of all parts, one after another."""
        held = list(parts)
        if len(held) == 1:
            return held[0]
        lengths = [part.lengths for part in held]
        return cls(
            np.concatenate([part.tokens for part in held]) if held else np.empty(0, np.int64),
            _edges(np.concatenate(lengths) if held else np.empty(0, np.int64)),
        )

    @property
    def lengths(self) -> Int64[np.ndarray, " N"]:
        """Tokens of each document."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Int[np.ndarray, " length"]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        index %= len(self)
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[Int[np.ndarray, " length"]]:
        return (self[i] for i in range(len(self)))

    def first(self, count: int) -> Documents:
        """The first `count` documents, all where there are no more."""
        return self.between(0, min(max(count, 0), len(self)))

    def cut(self, length: int) -> Documents:
        """Every document's first `length` tokens."""
        lengths = self.lengths
        if not (lengths > length).any():
            return self
        return self.gathered(self.offsets[:-1], np.minimum(lengths, length))

    def select(self, chosen: np.ndarray) -> Documents:
        """The documents for which the boolean array `chosen` (N,) is true."""
        return self if chosen.all() else self.gathered(self.offsets[:-1][chosen], self.lengths[chosen])

    def parts(self, tokens_at_once: int) -> Iterator[Documents]:
        """The documents in parts of no more than so many tokens, a longer document by itself."""
        first = 0
        while first < len(self):
            most = self.offsets[first] + tokens_at_once
            last = max(first + 1, int(np.searchsorted(self.offsets, most, "right")) - 1)
            yield self.between(first, last)
            first = last

    def between(self, first: int, last: int) -> Documents:
        """Documents `first` to `last` - 1."""
        begin, end = self.offsets[first], self.offsets[last]
        return Documents(self.tokens[begin:end], self.offsets[first : last + 1] - begin)

    def gathered(self, starts: Int64[np.ndarray, " n"], lengths: Int64[np.ndarray, " n"]) -> Documents:
        """The documents `tokens[start : start + length]`."""
        edges = _edges(lengths)
        index = np.arange(edges[-1]) + np.repeat(starts - edges[:-1], lengths)
        return Documents(self.tokens[index], edges)


def rows_of(array: np.ndarray) -> Documents:
    """The rows of a two-dimensional array of integers, or the sequences in an array of objects."""
    if array.dtype == object and array.ndim == 1:
        return Documents.of(list(array))
    if array.ndim != 2 or (array.dtype.kind not in "iu" and array.size):
        raise DataError(
            f"the documents are an array of {array.dtype} with shape {array.shape}; give integers, documents x "
            "tokens, or a list of sequences (a single document is a list of one)"
        )
    tokens = array.reshape(-1) if array.size else np.empty(0, np.int64)
    return Documents(tokens, np.arange(len(array) + 1, dtype=np.int64) * array.shape[1])


def _joined(chunk: list[Any], first: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and lengths of some documents, `first` being the number of the first."""
    try:
        chunk = [d if hasattr(d, "__len__") else list(d) for d in chunk]
        lengths = np.fromiter(map(len, chunk), np.int64, len(chunk))
        arrays = all(isinstance(d, np.ndarray) and d.ndim == 1 for d in chunk)
        flat = np.concatenate(chunk) if arrays else np.array(list(chain.from_iterable(chunk)))
    except (TypeError, ValueError) as error:
        raise DataError(_culprit(chunk, first)) from error
    if flat.size == 0:
        return np.empty(0, np.int64), lengths
    if flat.dtype.kind not in "iu" or flat.ndim != 1:
        raise DataError(_culprit(chunk, first))
    return flat, lengths


def _culprit(chunk: list[Any], first: int) -> str:
    advice = "give every document as a sequence of integers that 64 bits hold"
    for number, document in enumerate(chunk, first):
        try:
            found = np.asarray(list(document))
        except (TypeError, ValueError):
            return f"document {number} (from 0) is {document!r:.60}; {advice}"
        if found.size and (found.dtype.kind not in "iu" or found.ndim != 1):
            return f"document {number} (from 0) begins {list(document)[:3]!r:.60}; {advice}"
    return f"the documents mix kinds of numbers; {advice}"


def _edges(lengths: np.ndarray) -> Int64[np.ndarray, " N+1"]:
    edges = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=edges[1:])
    return edges
