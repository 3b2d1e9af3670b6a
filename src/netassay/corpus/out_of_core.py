"""The contexts of a corpus larger than memory: its documents on disk, separated by their first tokens.

Documents that differ in their first tokens share no longer context. So the corpus is written into parts by first
token, each small enough to be counted in memory; where a first token has too many documents, it is removed from them
and its part is split again by the next one. Every number is exact.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int64

from netassay.corpus.conditional import Backwards
from netassay.corpus.context import Contexts, contexts, fit_length, require_sizes
from netassay.corpus.prefixes import levels, run_edges
from netassay.corpus.tallies import Tally, counts_nats, dense_ids, tally
from netassay.corpus.telescope import RELATIVE_ROUNDING, closing_nats, require_telescoped, x_ln_x
from netassay.errors import ConfigError, DataError
from netassay.formats.documents import Documents, in_one_vocabulary
from netassay.formats.spill import Spill

DOCUMENT_BYTES = 200
TOKEN_BYTES = 28
SPARSE_TOKEN_BYTES = 72
"""Maximum memory of counting, for each document and each token; the last for ids that are not small."""

PARTING_BYTES = 256
"""Maximum memory of writing a corpus into parts, for each token or document at once."""

SMALL_IDS = 1 << 18
DENSE_IDS = 1 << 26
LEAST_ROOM = 1 << 26
MOST_FILES = 128


def contexts_within(
    parts: Iterable[Documents],
    *,
    memory: int,
    length: int | None = None,
    exact_length: bool = False,
    window: int | None = None,
    folder: Path | None = None,
) -> Contexts:
    """What `contexts` gives for the documents of all parts, within a given memory.

    A corpus that needs more is written to a temporary folder, 4 or 8 bytes for each token used, and counted part by
    part; the result then holds the numbers without the documents.

    Args:
        parts: Documents in parts, best small ones, in one vocabulary, as `read_in_parts` gives them.
        memory: Bytes (64 MiB or more) in addition to those already in use.
        length: Cut every document to its first tokens (1 or more).
        exact_length: Leave out, and count, documents shorter than `length`.
        window: Contexts are the last `window` tokens (1 or more).
        folder: Where to make the temporary folder; by default the system's.

    Returns:
        The contexts.

    Raises:
        ConfigError: For a memory below 64 MiB.
        DataError: Where a single document needs more memory.
        StoreError: Where the disk is full.

    Source:
        Madden, Fox, Thrampoulidis (2025), section 2.

    Example:
        >>> import netassay
        >>> parts = netassay.read_in_parts("stories.txt")
        >>> netassay.contexts_within(parts, memory=1 << 28).documents
        3
    """
    require_sizes(length, exact_length, window)
    if memory < LEAST_ROOM:
        raise ConfigError(f"memory is {memory:,} bytes; counting needs at least {LEAST_ROOM:,} (64 MiB)")
    census = _Census(memory, length, exact_length)
    arriving = map(census.take, in_one_vocabulary(parts))
    pieces, size = [], 0
    for part in arriving:
        pieces.append(part)
        size += census.bytes_for(len(part) if window is None else len(part.tokens), len(part.tokens))
        if size > memory:
            break
    else:
        result = contexts(Documents.concatenate(pieces), window=window)
        return replace(result, length=length, **census.counts())
    if window is not None:
        return _windows(chain(pieces, arriving), census, memory, length, window, folder)
    with tempfile.TemporaryDirectory(prefix="netassay-", dir=folder) as room:
        names = map(str, count())
        spill = Spill(Path(room) / next(names))
        while pieces:
            spill.append(pieces.pop(0))
        for part in arriving:
            spill.append(part)
        sums = _Sums(census.longest)
        pending = [_Part(spill, depth=0, complete=True)]
        while pending:
            current = pending.pop()
            if census.bytes_for(current.spill.documents, current.spill.tokens) <= memory:
                _count(current, sums)
            else:
                pending += _split(current, sums, census, memory, Path(room), names)
            current.spill.remove()
    return sums.finished(length, spill.documents, census)


def _windows(
    parts: Iterable[Documents],
    census: _Census,
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
    return replace(short, length=length, window=window, held=None, **census.counts(), **numbers)


_Number = TypeVar("_Number", int, np.ndarray)


class _Census:
    """Takes stock of a corpus as it is read: its size and its tokens."""

    def __init__(self, memory: int, length: int | None, exact: bool) -> None:
        self._memory, self._length, self._exact = memory, length, exact
        self._counts = dict.fromkeys(("documents", "empty", "shortened", "dropped", "tokens"), 0)
        self._ids = np.zeros(SMALL_IDS, bool)
        self._large_ids = np.empty(0, np.int64)
        self.longest = 0
        self._small = True

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

    def bytes_for(self, documents: _Number, tokens: _Number) -> _Number:
        """Maximum memory that counting this many documents with this many tokens takes."""
        return documents * DOCUMENT_BYTES + tokens * (TOKEN_BYTES if self._small else SPARSE_TOKEN_BYTES)

    def _note_ids(self, tokens: np.ndarray) -> None:
        tokens = tokens.astype(np.int64, copy=False)
        smallest, largest = int(tokens.min()), int(tokens.max())
        self._small = self._small and smallest >= 0 and largest < SMALL_IDS
        if smallest < 0 or largest >= DENSE_IDS:
            self._large_ids = np.union1d(self._large_ids, tokens)
            if 4 * self._large_ids.nbytes > self._memory:
                raise DataError(
                    f"the corpus has more than {len(self._large_ids):,} different tokens, which take too much of the "
                    f"memory of {self._memory:,} bytes by themselves; give more"
                )
            return
        if largest >= len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros(2 * largest - len(self._ids), bool)])
        self._ids[tokens] = True

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


@dataclass(frozen=True, eq=False)
class _Part:
    """Documents that share `depth` tokens, which are not in the file; all such documents, if `complete`."""

    spill: Spill
    depth: int
    complete: bool


class _Sums:
    """Sums of the tallies of parts, and the telescoped bound that they must equal."""

    def __init__(self, longest: int) -> None:
        numbers = np.zeros((6, longest), np.int64)
        self._tally = Tally(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], np.zeros(longest))
        self._closing: list[float] = []
        self._documents: list[float] = []

    def ends(self, ended: int, on: int) -> None:
        """Adds documents that end at one context, where others continue."""
        if ended:
            self._closing.append(closing_nats(np.array([[ended, on]])))
            self._documents.append(x_ln_x(ended))

    def context(self, depth: int, counts: Int64[np.ndarray, " g"], more: int = 0) -> None:
        """One context of `depth` tokens by how often each next token follows, and `more` after it alike."""
        if not len(counts):
            return
        span = slice(depth, depth + 1 + more)
        self._tally.contexts[span] += 1
        self._tally.predictions[span] += counts.sum()
        self._tally.certain[span] += len(counts) == 1
        self._tally.branches[depth] += len(counts) - 1
        self._tally.unequal[depth] += len(np.unique(counts)) - 1
        self._tally.widest[span] = np.maximum(self._tally.widest[span], len(counts))
        self._tally.nats[depth] += counts_nats(counts, np.full(len(counts), counts.sum()))

    def add(self, depth: int, part: Tally, closing: float, documents: float) -> None:
        """A part counted in memory, the shortest of its contexts of `depth` tokens."""
        span = slice(depth, depth + len(part.contexts))
        widest = np.maximum(self._tally.widest[span], part.widest)
        for total, new in zip(self._tally, part, strict=True):
            total[span] += new
        self._tally.widest[span] = widest
        self._closing.append(closing)
        self._documents.append(documents)

    def finished(self, length: int | None, documents: int, census: _Census) -> Contexts:
        """The contexts of all parts, checked against the bound from comparing entire documents."""
        nats = math.fsum([*self._tally.nats, *self._closing])
        expected = x_ln_x(documents) - math.fsum(self._documents)
        assert abs(nats - expected) <= RELATIVE_ROUNDING * max(x_ln_x(documents), 1.0), (
            f"the parts add up to {nats!r} nats with the ends of documents, the documents to {expected!r}"
        )
        counts = census.counts()
        assert self._tally.predictions.sum() == counts["tokens"], "the parts do not add up to the tokens"
        return Contexts(
            **counts,
            length=length,
            window=None,
            contexts_by_length=self._tally.contexts,
            predictions_by_length=self._tally.predictions,
            certain_by_length=self._tally.certain,
            branches_by_length=self._tally.branches,
            unequal_by_length=self._tally.unequal,
            widest_by_length=self._tally.widest,
            nats_by_length=self._tally.nats,
            held=None,
        )


def _count(part: _Part, sums: _Sums) -> None:
    """Counts a part in memory."""
    corpus = Documents.concatenate(part.spill.parts(part.spill.tokens + part.spill.documents))
    ids, vocabulary, _ = dense_ids(corpus.tokens)
    starts, lengths = corpus.offsets[:-1], corpus.lengths
    totals, closing = tally(levels(ids, starts, lengths, vocabulary), lengths)
    documents = require_telescoped(ids, lengths, math.fsum([*totals.nats, closing]))
    if part.complete:
        on = int(np.count_nonzero(lengths))
        sums.ends(len(lengths) - on, on)
    else:
        # their shared context has been counted where all its documents were
        for array in totals:
            array[:1] = 0
    sums.add(part.depth, totals, closing, documents)


def _split(part: _Part, sums: _Sums, census: _Census, memory: int, folder: Path, names: Iterator[str]) -> list[_Part]:
    """Parts of a part by next token, after counting the context that its documents share."""
    at_once = memory // PARTING_BYTES
    next_tokens, documents, sizes = _next_tokens(part.spill, at_once, memory)
    ended = part.spill.documents - int(documents.sum())
    shared = 1
    if part.complete:
        if len(next_tokens) == 1 and not ended:
            shared = _agreeing(part.spill, at_once)
        sums.ends(ended, part.spill.documents - ended)
        sums.context(part.depth, documents, more=shared - 1)
    needs = census.bytes_for(documents, sizes)
    limit = max(memory, 4 * int(needs.sum()) // MOST_FILES)
    large = needs > limit // 2
    # a file for each large one; the others together, up to `most` a file
    files = np.where(large, -1 - np.arange(len(needs)), np.cumsum(np.where(large, 0, needs)) // (limit // 2))
    distinct, files = np.unique(files, return_inverse=True)
    alone = distinct < 0
    spills = [Spill(folder / next(names)) for _ in distinct]
    for block in part.spill.parts(at_once):
        going = block.select(block.lengths > 0)
        if not len(going):
            continue
        heads = going.tokens[going.offsets[:-1]]
        _write(going, files[np.searchsorted(next_tokens, heads)], shared * alone, spills)
    return [
        _Part(spill, part.depth + shared, True) if single else _Part(spill, part.depth, False)
        for spill, single in zip(spills, alone, strict=True)
    ]


def _write(documents: Documents, files: np.ndarray, dropped: np.ndarray, spills: list[Spill]) -> None:
    """Writes each document into its file, without the first tokens that are dropped there."""
    order = np.argsort(files, kind="stable")
    files = files[order]
    off = dropped[files]
    sorted_ = documents.gathered(documents.offsets[:-1][order] + off, documents.lengths[order] - off)
    edges = run_edges(files)
    for first, last in pairwise(edges.tolist()):
        spills[files[first]].append(sorted_.between(first, last))


def _next_tokens(
    spill: Spill, at_once: int, memory: int
) -> tuple[np.ndarray, Int64[np.ndarray, " g"], Int64[np.ndarray, " g"]]:
    """The distinct first tokens of documents, how many documents have each, and the tokens of those."""
    tokens, documents, sizes = np.empty((3, 0), np.int64)
    for block in spill.parts(at_once):
        lengths = block.lengths
        filled = lengths > 0
        heads = block.tokens[block.offsets[:-1][filled]].astype(np.int64)
        tokens, where = np.unique(np.concatenate([tokens, heads]), return_inverse=True)
        once = np.ones(len(heads), np.int64)
        documents = _summed(where, np.concatenate([documents, once]), len(tokens))
        sizes = _summed(where, np.concatenate([sizes, lengths[filled]]), len(tokens))
        if len(tokens) * PARTING_BYTES > 2 * memory:
            raise DataError(
                f"documents continue with {len(tokens):,} different tokens after one context, too many for the memory "
                f"of {memory:,} bytes; give more"
            )
    return tokens, documents, sizes


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
