"""How often each of many keys occurs, in memory that grows with the keys, not with the occurrences."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

PENDING = 1 << 23
DENSE = 1 << 22
"""Maximum number of possible keys for an array with a place for each, which is faster than sorting."""


class Tally:
    """Counts of integers from 0 to `size` - 1, given in batches; of any non-negative integers without a size."""

    def __init__(self, size: int | None = None) -> None:
        self._dense = np.zeros(size, np.int64) if size is not None and size <= DENSE else None
        self._keys: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._pending = 0

    def add(self, keys: Int64[np.ndarray, " n"]) -> None:
        """Counts each key of a batch once."""
        if self._dense is not None:
            self._dense += np.bincount(keys, minlength=len(self._dense))
            return
        unique, counts = np.unique(keys, return_counts=True)
        self._keys.append(unique)
        self._counts.append(counts)
        self._pending += len(unique)
        if len(self._keys) > 1 and self._pending > max(PENDING, 2 * len(self._keys[0])):
            self._merge()

    def counts(self) -> tuple[Int64[np.ndarray, " keys"], Int64[np.ndarray, " keys"]]:
        """The keys in order, each once, and how often each occurred."""
        if self._dense is not None:
            return (keys := np.flatnonzero(self._dense)), self._dense[keys]
        self._merge()
        return self._keys[0], self._counts[0]

    def _merge(self) -> None:
        if not self._keys:
            self._keys, self._counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        if len(self._keys) > 1:
            keys = np.concatenate(self._keys)
            order = np.argsort(keys, kind="stable")
            keys, counts = keys[order], np.concatenate(self._counts)[order]
            first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
            total = np.add.reduceat(counts, first) if len(keys) else counts
            self._keys, self._counts = [keys[first]], [total]
        self._pending = len(self._keys[0])
