"""Takes stock of a corpus as it is read: its size, its tokens, and what counting them may take."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int64

from netassay.corpus.context import fit_length
from netassay.corpus.piles import SMALL_IDS
from netassay.errors import DataError
from netassay.formats.documents import Documents

DOCUMENT_BYTES = 200
TOKEN_BYTES = 28
SPARSE_TOKEN_BYTES = 72
"""Maximum memory of counting, for each document and each token; the last for ids that are not small."""

AT_ONCE = 1 << 15
DENSE_IDS = 1 << 26

Number = TypeVar("Number", int, np.ndarray)


def counting_bytes(documents: Number, tokens: Number, small: bool) -> Number:
    """Maximum memory that counting this many documents with this many tokens takes; `small`: all ids are."""
    return documents * DOCUMENT_BYTES + tokens * (TOKEN_BYTES if small else SPARSE_TOKEN_BYTES)


class Census:
    """Takes stock of a corpus as it is read: its size and its tokens."""

    def __init__(self, memory: int, length: int | None, exact: bool) -> None:
        self._memory, self._length, self._exact = memory, length, exact
        self._counts = dict.fromkeys(("documents", "empty", "shortened", "dropped", "tokens"), 0)
        self._ids = np.zeros(SMALL_IDS, bool)
        self._large_ids = np.empty(0, np.int64)
        self.longest = 0
        self.small = True

    def take(self, part: Documents) -> Documents:
        """The part's documents that have tokens, cut to length."""
        ready, shortened, dropped = fit_length(part, self._length, self._exact)
        filled = ready.lengths > 0
        new = (len(ready), int((~filled).sum()), shortened, dropped, len(ready.tokens))
        for name, number in zip(self._counts, new, strict=True):
            self._counts[name] += number
        if len(ready.tokens):
            self._note_ids(ready.tokens)
            self._require_room(ready)
        return ready.select(filled)

    def counts(self) -> dict[str, Any]:
        """Documents, empty, shortened, dropped, tokens and vocabulary, as `Contexts` has them."""
        outside = self._large_ids[(self._large_ids < 0) | (self._large_ids >= len(self._ids))]
        again = self._large_ids[(self._large_ids >= 0) & (self._large_ids < len(self._ids))]
        new = int((~self._ids[again]).sum())
        return {**self._counts, "vocabulary": int(self._ids.sum()) + new + len(outside)}

    def distinct(self) -> Int64[np.ndarray, " v"]:
        """The distinct tokens in ascending order."""
        return np.union1d(np.flatnonzero(self._ids), self._large_ids)

    def bytes_for(self, documents: int, tokens: int) -> int:
        """Maximum memory that counting this many documents with this many tokens takes."""
        return counting_bytes(documents, tokens, self.small)

    def _note_ids(self, tokens: np.ndarray) -> None:
        smallest, largest = int(tokens.min()), int(tokens.max())
        self.small = self.small and smallest >= 0 and largest < SMALL_IDS
        if smallest < 0 or largest >= DENSE_IDS:
            self._large_ids = np.union1d(self._large_ids, tokens.astype(np.int64, copy=False))
            if 4 * self._large_ids.nbytes > self._memory:
                raise DataError(
                    f"the corpus has more than {len(self._large_ids):,} different tokens, which take too much of the "
                    f"memory of {self._memory:,} bytes by themselves; give more"
                )
            return
        if largest >= len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros(2 * largest - len(self._ids), bool)])
        # most tokens of a large corpus have occurred before
        if not self._ids[smallest : largest + 1].all():
            for first in range(0, len(tokens), AT_ONCE):
                self._ids[tokens[first : first + AT_ONCE].astype(np.intp)] = True

    def _require_room(self, part: Documents) -> None:
        lengths = part.lengths
        self.longest = max(self.longest, int(lengths.max()))
        need = self.bytes_for(1, self.longest)
        if need > self._memory:
            number = self._counts["documents"] - len(part) + int(lengths.argmax())
            raise DataError(
                f"document {number} (from 0) has {self.longest:,} tokens, which take up to {need:,} bytes to count, "
                f"more than the memory of {self._memory:,}; give more, or cut documents to a length"
            )
