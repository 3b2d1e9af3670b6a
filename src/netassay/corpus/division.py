"""A corpus divided by first token as it arrives, in memory or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from netassay.corpus.parting import Part, add_continuations
from netassay.corpus.piles import AT_ONCE, Piles, first_tokens, small, sum_counts
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill

MOST_BLOCK = 1 << 18
"""Maximum number of bytes that a pile gathers before it writes them."""


class Division:
    """Documents in piles, in memory, or with a file for each pile where they take more than a quarter of it.

    How often tokens are first in a sample decides which go together.

    Attributes:
        on_disk: Whether any documents are in files.
    """

    def __init__(self, sample: Sequence[Documents], folder: Path, memory: int) -> None:
        self._piles = Piles(sum_counts(sample))
        piles = len(self._piles.alone)
        # fewer and larger pieces are written than arrive
        block = min(memory // 8 // piles, MOST_BLOCK)
        self._spills = [Spill(folder / f"first-{number}", block=block, waits=True) for number in range(piles)]
        self._counts = sum_counts([])
        self._others = np.empty((3, 0), np.int64)
        self._memory = memory
        self.on_disk = False

    @property
    def documents(self) -> int:
        """Documents so far."""
        return sum(spill.documents for spill in self._spills)

    @property
    def waiting(self) -> int:
        """Bytes of the documents in memory."""
        return sum(spill.waiting for spill in self._spills)

    def append(self, part: Documents) -> None:
        """Adds documents, none of them empty."""
        for piece in part.parts(AT_ONCE):
            self._append(piece)
        if not self.on_disk and self.waiting > self._memory // 4:
            self.on_disk = True
            for spill in self._spills:
                spill.write()

    def counts(self) -> Int64[np.ndarray, " g"]:
        """How many documents begin with each first token that there is."""
        return np.concatenate([self._counts[self._counts > 0], self._others[1]])

    def parts(self) -> list[Part]:
        """The piles that have documents; from those of one first token it has been removed."""
        return [
            Part(spill, 1, True) if alone else Part(spill, 0, False)
            for spill, alone in zip(self._spills, self._piles.alone.tolist(), strict=True)
            if spill.documents
        ]

    def _append(self, part: Documents) -> None:
        heads = first_tokens(part)
        self._counts += sum_counts([part])
        large = ~small(heads)
        if large.any():
            self._others = add_continuations(self._others, heads[large], part.lengths[large], self._memory)
        for pile, documents in self._piles.apart(part, heads):
            self._spills[pile].append(documents.without_first(1) if self._piles.alone[pile] else documents)
