"""A corpus divided on disk by first token as it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from netassay.corpus.parting import Part, add_continuations
from netassay.corpus.piles import AT_ONCE, Piles, first_tokens, small, sum_counts
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill

MOST_BUFFER = 1 << 18
"""Maximum number of bytes that wait in memory for each file."""


class Division:
    """A file for each pile of documents; how often tokens are first in a sample decides which go together."""

    def __init__(self, sample: Sequence[Documents], folder: Path, memory: int) -> None:
        self._piles = Piles(sum_counts(sample))
        files = len(self._piles.alone)
        # fewer and larger pieces are written than arrive
        buffer = min(memory // 8 // files, MOST_BUFFER)
        self._spills = [Spill(folder / f"first-{number}", buffer=buffer) for number in range(files)]
        self._counts = sum_counts([])
        self._others = np.empty((3, 0), np.int64)
        self._memory = memory

    @property
    def documents(self) -> int:
        """Documents so far."""
        return sum(spill.documents for spill in self._spills)

    def append(self, part: Documents) -> None:
        """Writes documents, none of them empty, into their files."""
        for piece in part.parts(AT_ONCE):
            self._append(piece)

    def counts(self) -> Int64[np.ndarray, " g"]:
        """How many documents begin with each first token that there is."""
        return np.concatenate([self._counts[self._counts > 0], self._others[1]])

    def parts(self) -> list[Part]:
        """The files that have documents; from those of one first token it has been removed."""
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
