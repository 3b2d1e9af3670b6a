"""The contexts of a corpus larger than memory: its documents on disk, separated by their first tokens.

Documents that differ in their first tokens share no longer context. So the corpus is written into parts by first token
as it arrives, and each part is counted in memory; where a first token has too many documents, it is removed from them
and its part is split again by the next one. Every number is exact, and nats are those of memory to the last bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from netassay.corpus.conditional import Backwards
from netassay.corpus.context import Census, Contexts, counted_contexts, require_sizes
from netassay.corpus.counting import AT_ONCE, Piles, first_tokens, joined, small, sum_counts
from netassay.corpus.parting import Part, Sums, add_continuations, count_parts
from netassay.errors import ConfigError
from netassay.formats.documents import Documents, in_one_vocabulary
from netassay.formats.spill import Spill

LEAST_ROOM = 1 << 26
SAMPLE = 1 << 28
"""Counting a corpus that takes no more is not worth dividing it, and first tokens of a larger one are like these."""


def contexts_within(
    parts: Iterable[Documents],
    *,
    memory: int,
    length: int | None = None,
    exact_length: bool = False,
    window: int | None = None,
    folder: Path | None = None,
    hold: bool = True,
) -> Contexts:
    """What `contexts` gives for the documents of all parts, within a given memory.

    A corpus that needs more is divided into parts, which are written to a temporary folder where they take too much,
    1 to 8 bytes for each token used, and counted one by one; the result then holds the numbers without the documents.

    Args:
        parts: Documents in parts, best small ones, in one vocabulary, as `read_in_parts` gives them.
        memory: Bytes (64 MiB or more) in addition to those already in use.
        length: Cut every document to its first tokens (1 or more).
        exact_length: Leave out, and count, documents shorter than `length`.
        window: Contexts are the last `window` tokens (1 or more).
        folder: Where to make the temporary folder; by default the system's.
        hold: Whether the result is to hold the documents if they fit; without them, counting takes less memory.

    Returns:
        The contexts.

    Raises:
        ConfigError: For a memory below 64 MiB.
        DataError: Where a single document needs more memory.
        StoreError: Where the disk is full.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> parts = netassay.read_in_parts("stories.txt")
        >>> netassay.contexts_within(parts, memory=1 << 28).documents
        3
    """
    require_sizes(length, exact_length, window)
    if memory < LEAST_ROOM:
        raise ConfigError(f"memory is {memory:,} bytes; counting needs at least {LEAST_ROOM:,} (64 MiB)")
    census = Census(memory, length, exact_length)
    arriving = map(census.take, in_one_vocabulary(parts))
    pieces, size = [], 0
    room_of_sample = memory if hold or window is not None else min(memory, SAMPLE)
    for part in arriving:
        pieces.append(part)
        size += census.bytes_for(len(part) if window is None else len(part.tokens), len(part.tokens))
        if size > room_of_sample:
            break
    else:
        corpus = Documents.concatenate(pieces)
        pieces.clear()
        return counted_contexts(corpus.renumbered(), census.counts(), length=length, window=window)
    if window is not None:
        return _windows(chain(pieces, arriving), census, memory, length, window, folder)
    with tempfile.TemporaryDirectory(prefix="netassay-", dir=folder) as room:
        division = Division(pieces, Path(room), memory)
        for part in joined(chain(_emptied(pieces), arriving), AT_ONCE):
            division.append(part)
        sums = Sums(census.longest)
        sums.context(0, division.counts())
        divided = division.parts()
        on_disk = count_parts(divided, sums, memory - division.waiting, census.small, Path(room)) or division.on_disk
    return replace(sums.finished(length, division.documents, census.counts()), on_disk=on_disk)


def _emptied(pieces: list[Documents]) -> Iterator[Documents]:
    """The documents of a list, each of which is removed from it when it is taken."""
    while pieces:
        yield pieces.pop(0)


def _windows(
    parts: Iterable[Documents],
    census: Census,
    memory: int,
    length: int | None,
    window: int,
    folder: Path | None,
) -> Contexts:
    """Contexts of a window on disk: the shorter ones where documents begin, and those of `window` tokens."""
    with Backwards(folder, memory) as corpus:

        def beginnings() -> Iterator[Documents]:
            for part in parts:
                corpus.append(part)
                yield part.beginnings(window)

        short = contexts_within(beginnings(), memory=memory, folder=folder)
        full = corpus.rows([window], shortest=window)[0] if census.longest > window else None
    names = ("contexts", "predictions", "certain", "branches", "unequal", "widest", "nats")
    numbers: dict[str, Any] = {
        f"{name}_by_length": np.append(getattr(short, f"{name}_by_length"), getattr(full, name))
        for name in names
        if full is not None
    }
    return replace(short, length=length, window=window, held=None, on_disk=True, **census.counts(), **numbers)


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
