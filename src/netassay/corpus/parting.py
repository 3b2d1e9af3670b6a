"""A corpus larger than memory: its documents separated by their first tokens, on disk, and counted part by part.

Documents that differ in their first tokens share no longer context. So the corpus is written into parts by first token
as it arrives, and each part is counted in memory; where a first token has too many documents, it is removed from them
and its part is split again by the next one. Every number is exact, and nats are those of memory to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64

from netassay.corpus.counting import AT_ONCE, Piles, counted, counting_bytes, first_tokens, small, sum_counts
from netassay.corpus.tallies import PREDICTIONS, UNIT, Tally, closing_nats, dense_ids, require_equal, x_ln_x
from netassay.errors import DataError
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill

PARTING_BYTES = 256
"""Maximum memory of writing a corpus into parts, for each token or document at once."""

MOST_FILES = 128


@dataclass(frozen=True, eq=False)
class Part:
    """Documents that share `depth` tokens, which are not in the file; all such documents, if `complete`."""

    spill: Spill
    depth: int
    complete: bool


class Sums:
    """Sums of the tallies of parts, and the telescoped bound that they must equal."""

    def __init__(self, longest: int) -> None:
        self._totals = Tally.empty(longest)
        self._closing: list[float] = []
        self._documents: list[float] = []

    def ends(self, ended: int, on: int) -> None:
        """Adds documents that end at one context, where others continue."""
        if ended:
            self._closing.append(closing_nats(np.array([[ended, on]])))
            self._documents.append(x_ln_x(ended))

    def context(self, depth: int, counts: Int64[np.ndarray, " g"], more: int = 0) -> None:
        """One context of `depth` tokens by how often each next token follows, and `more` after it alike."""
        self._totals.add_context(depth, counts, more)

    def add(self, depth: int, part: Tally, closing: float, documents: float) -> None:
        """A part counted in memory, the shortest of its contexts of `depth` tokens."""
        self._totals.add(depth, part)
        self._closing.append(closing)
        self._documents.append(documents)

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums so far, as `add_arrays` takes them, without lengths that no context has."""
        longest = int(np.flatnonzero(self._totals.numbers[0]).max(initial=-1)) + 1
        units = [(length, *divmod(units, UNIT)) for length, units in self._totals.units.items()]
        return {
            "numbers": self._totals.numbers[:, :longest],
            "units": np.array(units, np.int64).reshape(-1, 3),
            "ends": np.array([math.fsum(self._closing), math.fsum(self._documents)]),
        }

    def add_arrays(self, sums: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Adds the sums of others."""
        for other in sums:
            part = Tally(other["numbers"])
            for length, high, low in other["units"].tolist():
                part.units[length] = high * UNIT + low
            closing, documents = other["ends"].tolist()
            self.add(0, part, closing, documents)

    def totals(self, documents: int, tokens: int) -> Tally:
        """The sums of all parts, checked against the bound from comparing entire documents."""
        require_equal(self._totals.total_nats, self._closing, documents, self._documents)
        assert self._totals.numbers[PREDICTIONS].sum() == tokens, "the parts do not add up to the tokens"
        return self._totals


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


def count_parts(parts: Sequence[Part], sums: Sums, memory: int, small: bool, folder: Path) -> bool:
    """Counts parts within a given memory, splitting those that need more on disk; removes their files.

    `small`: whether all token ids are. `folder`: an empty one for the files of what is split. Returns whether any was.
    """
    names, split = map(str, count()), False
    pending = [*parts]
    while pending:
        current = pending.pop()
        if counting_bytes(current.spill.documents, current.spill.tokens, small) <= memory:
            count_documents(current.spill.all(), current.depth, current.complete, sums)
        else:
            pending += _split(current, sums, small, memory, folder, names)
            split = True
        current.spill.remove()
    return split


def count_documents(corpus: Documents, depth: int, complete: bool, sums: Sums) -> None:
    """Counts documents in memory that share `depth` tokens, which they are given without."""
    ids, vocabulary = dense_ids(corpus.tokens)
    totals, closing, documents = counted(corpus.with_tokens(ids), vocabulary)
    if complete:
        on = int(np.count_nonzero(corpus.lengths))
        sums.ends(len(corpus) - on, on)
    else:
        # their shared context has been counted where all its documents were
        totals = totals.without_empty()
    sums.add(depth, totals, closing, documents)


def _split(part: Part, sums: Sums, small: bool, memory: int, folder: Path, names: Iterator[str]) -> list[Part]:
    """Parts of a part by next token, after counting the context that its documents share."""
    at_once = memory // PARTING_BYTES
    next_tokens, documents, sizes = continuations(part.spill, at_once, memory)
    ended = part.spill.documents - int(documents.sum())
    shared = 1
    if part.complete:
        if len(next_tokens) == 1 and not ended:
            shared = _agreeing(part.spill, at_once)
        sums.ends(ended, part.spill.documents - ended)
        sums.context(part.depth, documents, more=shared - 1)
    needs = counting_bytes(documents, sizes, small)
    limit = max(memory, 4 * int(needs.sum()) // MOST_FILES)
    large = needs > limit // 2
    # a file for each large one; the others together, up to `most` a file
    files = np.where(large, -1 - np.arange(len(needs)), np.cumsum(np.where(large, 0, needs)) // (limit // 2))
    distinct, files = np.unique(files, return_inverse=True)
    files = files.astype(np.min_scalar_type(len(distinct)))
    alone = distinct < 0
    spills = [Spill(folder / next(names)) for _ in distinct]
    for block in part.spill.parts(at_once):
        going = block.select(block.lengths > 0)
        if not len(going):
            continue
        heads = going.tokens[going.offsets[:-1]]
        write_apart(going, files[np.searchsorted(next_tokens, heads)], shared * alone, spills)
    return [
        Part(spill, part.depth + shared, True) if single else Part(spill, part.depth, False)
        for spill, single in zip(spills, alone, strict=True)
    ]


def write_apart(
    documents: Documents, files: Int[np.ndarray, " N"], dropped: Int64[np.ndarray, " files"], spills: Sequence[Spill]
) -> None:
    """Writes each document into its file, without the first tokens that are dropped there."""
    order = np.argsort(files, kind="stable")
    sorted_ = documents.ordered(order)
    edges = np.concatenate([[0], np.cumsum(np.bincount(files, minlength=len(spills)))]).tolist()
    for spill, off, (first, last) in zip(spills, dropped.tolist(), pairwise(edges), strict=True):
        if first < last:
            piece = sorted_.between(first, last)
            spill.append(piece.without_first(off) if off else piece)


def continuations(
    spill: Spill, at_once: int, memory: int
) -> tuple[np.ndarray, Int64[np.ndarray, " g"], Int64[np.ndarray, " g"]]:
    """The distinct first tokens of documents, how many documents have each, and the tokens of those."""
    numbers = np.empty((3, 0), np.int64)
    for block in spill.parts(at_once):
        lengths = block.lengths
        filled = lengths > 0
        heads = block.tokens[block.offsets[:-1][filled]].astype(np.int64)
        numbers = add_continuations(numbers, heads, lengths[filled], memory)
    return numbers[0], numbers[1], numbers[2]


def add_continuations(
    numbers: Int64[np.ndarray, "3 g"], heads: Int64[np.ndarray, " n"], lengths: Int64[np.ndarray, " n"], memory: int
) -> Int64[np.ndarray, "3 g"]:
    """First tokens, the documents that have each and the tokens of those, with more documents of some lengths added.

    Raises DataError where there are too many different ones for the memory.
    """
    tokens, where = np.unique(np.concatenate([numbers[0], heads]), return_inverse=True)
    documents = _summed(where, np.concatenate([numbers[1], np.ones(len(heads), np.int64)]), len(tokens))
    sizes = _summed(where, np.concatenate([numbers[2], lengths]), len(tokens))
    if len(tokens) * PARTING_BYTES > 2 * memory:
        raise DataError(
            f"documents continue with {len(tokens):,} different tokens after one context, too many for the memory "
            f"of {memory:,} bytes; give more"
        )
    return np.stack([tokens, documents, sizes])


def _summed(where: np.ndarray, values: np.ndarray, size: int) -> Int64[np.ndarray, " size"]:
    # sums of whole numbers below 2^53, which doubles hold exactly
    return np.bincount(where, weights=values, minlength=size).astype(np.int64)


def _agreeing(spill: Spill, at_once: int) -> int:
    """Number of first tokens that all documents share; no document is empty."""
    example: np.ndarray | None = None
    for block in spill.parts(at_once):
        if example is None:
            example = block[0].copy()
        shortest = int(block.lengths.min())
        example = example[:shortest]
        # a token at a time over all documents: they are many and what they share is mostly short
        for t, token in enumerate(example):
            if (block.tokens[block.offsets[:-1] + t] != token).any():
                example = example[:t]
                break
    assert example is not None
    return len(example)
