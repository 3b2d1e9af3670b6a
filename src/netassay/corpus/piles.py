"""Documents apart by first token: those of different piles share no context but the empty one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Int, Int64, UInt8

from netassay.corpus.telescope import spread_bits
from netassay.formats.documents import Documents

PILES = 192
LARGE_PILES = 63
"""Most piles of one first token; with the others they are numbered by 8 bits, which are sorted fastest."""

SMALL_IDS = 1 << 18
AT_ONCE = 1 << 20
"""Tokens that are moved apart at once, which the cache is to hold."""

DOCUMENTS = 1 << 15
"""Documents of a pile in memory, on average."""


class Piles:
    """A pile for each first token, chosen so that piles are alike in size.

    The choice decides how evenly documents are spread, never what is counted.

    Attributes:
        alone: (piles,) whether a pile is for one first token alone.
    """

    def __init__(self, counts: Int64[np.ndarray, " v"], piles: int = PILES) -> None:
        large = np.flatnonzero(counts * piles > counts.sum())[:LARGE_PILES]
        others = counts.copy()
        others[large] = 0
        # a token that does not occur here goes where its number says, as large numbers do
        self._of = _scattered(np.arange(SMALL_IDS), piles)
        if total := int(others.sum()):
            before = np.cumsum(others) - others
            self._of[others > 0] = (before * piles // total)[others > 0]
        self._of[large] = piles + np.arange(len(large))
        self._piles = piles
        self.alone = np.arange(piles + len(large)) >= piles

    def of(self, heads: Int64[np.ndarray, " N"]) -> UInt8[np.ndarray, " N"]:
        """The pile of each first token."""
        inside = small(heads)
        if inside.all():
            return self._of[heads]
        return np.where(inside, self._of[np.where(inside, heads, 0)], _scattered(heads, self._piles))

    def apart(self, part: Documents, heads: Int64[np.ndarray, " N"]) -> Iterator[tuple[int, Documents]]:
        """The documents of each pile that a part has any of, which first tokens say."""
        of = self.of(heads)
        sorted_ = part.ordered(np.argsort(of, kind="stable"))
        edges = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(self.alone)))]).tolist()
        for pile, (first, last) in enumerate(pairwise(edges)):
            if first < last:
                yield pile, sorted_.between(first, last)


def in_piles(corpus: Documents, counts: Int64[np.ndarray, " v"]) -> Iterator[Documents]:
    """The documents of a corpus in memory, none of them empty, in piles, by how often each token is first."""
    piles = Piles(counts, min(max(len(corpus) // DOCUMENTS, 1), PILES))
    if (length := corpus.common_length) is not None:
        yield from _rows_in_piles(corpus, length, piles, counts)
        return
    pieces: list[list[Documents]] = [[] for _ in piles.alone]
    for part in corpus.parts(AT_ONCE):
        for pile, documents in piles.apart(part, first_tokens(part)):
            pieces[pile].append(documents)
    for some in pieces:
        if some:
            yield Documents.concatenate(some)
            some.clear()


def _rows_in_piles(corpus: Documents, length: int, piles: Piles, counts: np.ndarray) -> Iterator[Documents]:
    """As `in_piles`, of documents of one length: one array for all piles, each where its number is known to begin."""
    sizes = np.bincount(piles.of(np.arange(len(counts))), weights=counts, minlength=len(piles.alone)).astype(np.int64)
    ends = (np.cumsum(sizes) * length).tolist()
    rows, places = np.empty(len(corpus) * length, corpus.tokens.dtype), [0, *ends]
    for part in corpus.parts(AT_ONCE):
        for pile, documents in piles.apart(part, first_tokens(part)):
            place = places[pile]
            places[pile] = place + len(documents.tokens)
            rows[place : places[pile]] = documents.tokens
    for first, last in pairwise([0, *ends]):
        if first < last:
            yield Documents.of_length(rows[first:last], length)


def first_tokens(part: Documents) -> Int64[np.ndarray, " N"]:
    """The first token of each document, none of them empty."""
    return part.tokens[part.offsets[:-1]].astype(np.int64)


def small(tokens: Int64[np.ndarray, " n"]) -> np.ndarray:
    """Whether numbers are small enough to be counted in an array."""
    return tokens.view(np.uint64) < SMALL_IDS


def sum_counts(parts: Iterable[Documents]) -> Int64[np.ndarray, " v"]:
    """How often each small number is first in the documents of parts, none of them empty."""
    counts = np.zeros(SMALL_IDS, np.int64)
    for part in parts:
        heads = first_tokens(part)
        some = np.bincount(heads[small(heads)])
        counts[: len(some)] += some
    return counts


def joined(parts: Iterable[Documents], at_once: int) -> Iterator[Documents]:
    """The same documents, small parts joined to parts of up to `at_once` tokens."""
    pending, size = [], 0
    for part in parts:
        if pending and size + len(part.tokens) > at_once:
            yield Documents.joined(pending)
            pending, size = [], 0
        pending.append(part)
        size += len(part.tokens)
    if pending:
        yield Documents.joined(pending)


def _scattered(tokens: Int64[np.ndarray, " n"], piles: int) -> Int[np.ndarray, " n"]:
    return (spread_bits(tokens.view(np.uint64)) % np.uint64(piles)).astype(np.uint8)
