"""Totals over the contexts of documents in memory: apart by first token, then several lengths from one sort."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Int, Int64, UInt8, UInt64

from netassay.corpus.distribution import window_starts
from netassay.corpus.prefixes import WORD, levels, tally
from netassay.corpus.tallies import (
    Alone,
    Tally,
    closing_nats,
    ordered,
    require_equal,
    require_telescoped,
    run_edges,
    spread_bits,
)
from netassay.formats.documents import Documents

MANY = 1 << 18
"""Documents above which they are moved apart before they are counted, as the processor's cache holds no more."""

IDS_AT_ONCE = 1 << 15


def distinct(ids: Int[np.ndarray, " t"], vocabulary: int) -> int:
    """How many of 0..vocabulary - 1 occur."""
    present = np.zeros(vocabulary, bool)
    for first in range(0, len(ids), IDS_AT_ONCE):
        present[ids[first : first + IDS_AT_ONCE].astype(np.intp)] = True
    return int(np.count_nonzero(present))


def prefix_totals(corpus: Documents, ids: Int[np.ndarray, " t"], vocabulary: int) -> Tally:
    """Totals over the prefixes of documents, checked against comparing entire documents."""
    corpus = corpus.with_tokens(ids)
    if len(corpus) <= MANY or vocabulary > SMALL_IDS:
        return counted(corpus, vocabulary)[0]
    corpus = corpus.select(corpus.lengths > 0)
    counts = sum_counts(corpus.parts(AT_ONCE))
    totals, closing, documents = Tally.empty(int(corpus.lengths.max(initial=0))), [], []
    totals.add_context(0, counts[counts > 0])
    for part in in_piles(corpus, counts):
        its, ends, its_documents = counted(part, vocabulary)
        totals.add(0, its.without_empty())
        closing.append(ends)
        documents.append(its_documents)
    require_equal(totals.total_nats, closing, len(corpus), documents)
    return totals


def window_totals(corpus: Documents, ids: Int[np.ndarray, " t"], vocabulary: int, window: int) -> Tally:
    """Contexts shorter than the window at the beginnings of documents, then those of `window` tokens."""
    short, _ = tallied(ids, corpus.offsets[:-1], np.minimum(corpus.lengths, window), vocabulary)
    grams = window_starts(corpus, window)
    full, _ = tallied(ids, grams, np.full(len(grams), window + 1), vocabulary)
    totals = Tally.empty(max(short.numbers.shape[1], full.numbers.shape[1]))
    totals.add(0, short)
    full.numbers[:, :window] = 0
    full.units = Counter({length: units for length, units in full.units.items() if length >= window})
    totals.add(0, full)
    return totals


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
    pending: list[Documents] = []
    size = 0
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


BLOCK = 1 << 16
"""Maximum number of documents counted at once, so that what is computed stays in the processor's cache."""

DEEPEST = 8
"""Maximum number of first tokens by which documents are separated before those that still agree are counted at once."""


def counted(corpus: Documents, vocabulary: int) -> tuple[Tally, float, float]:
    """Totals over the contexts of documents, checked against comparing entire documents.

    Also what their ends would add, and the sum over distinct documents of c ln c. Tokens lie in 0..vocabulary - 1.
    """
    totals, closing = tallied(corpus.tokens, corpus.offsets[:-1], corpus.lengths, vocabulary)
    return totals, closing, require_telescoped(corpus.tokens, corpus.lengths, totals.total_nats + closing)


def tallied(
    tokens: Int[np.ndarray, " t"],
    starts: Int64[np.ndarray, " N"],
    lengths: Int64[np.ndarray, " N"],
    vocabulary: int,
    *,
    depth: int = 0,
) -> tuple[Tally, float]:
    """Totals over the contexts of the sequences `tokens[start : start + length]`, and what their ends would add.

    Tokens lie in 0..vocabulary - 1. Sequences that begin with different tokens share no context but the empty one, so
    they are counted in blocks by first token. Exact, and the same whatever the blocks are.
    """
    if len(starts) and not lengths.min():
        filled = lengths > 0
        starts, lengths = starts[filled], lengths[filled]
    if not len(starts):
        return Tally.empty(0), 0.0
    at_once = len(starts) <= BLOCK or depth == DEEPEST
    form = Form.of(lengths, vocabulary, len(starts) if at_once else BLOCK)
    keys = form.keys(tokens, starts, lengths)
    sequences = _Sequences(tokens, starts, lengths, vocabulary)
    if at_once:
        return sequences.in_a_block(np.arange(len(starts)), keys, form)
    heads = form.heads(keys)
    counts = np.bincount(heads, minlength=vocabulary)
    totals, closing = Tally.empty(int(lengths.max())), []
    totals.add_context(0, counts[counts > 0])
    of = _blocks(counts)[heads]
    order = np.argsort(of, kind="stable")
    for first, last in pairwise(run_edges(of[order]).tolist()):
        some = order[first:last]
        if last - first > BLOCK:
            # all begin with one token
            its_lengths = lengths[some]
            part, ends = tallied(tokens, starts[some] + 1, its_lengths - 1, vocabulary, depth=depth + 1)
            on = int(np.count_nonzero(its_lengths > 1))
            ends += closing_nats(np.array([[last - first - on, on]]))
            totals.add(1, part)
        else:
            part, ends = sequences.in_a_block(some, keys[some], form)
            totals.add(0, part.without_empty())
        closing.append(ends)
    return totals, math.fsum(closing)


def _blocks(counts: Int64[np.ndarray, " v"]) -> Int[np.ndarray, " v"]:
    """A block for each first token: its own for a frequent one, and one for others that are together no more."""
    large = counts > BLOCK // 4
    # a block that begins within three quarters ends within the last
    others = np.cumsum(np.where(large, 0, counts)) // max(3 * BLOCK // 4, 1)
    blocks = np.where(large, others[-1] + np.cumsum(large), others)
    # small integers are sorted fastest
    return blocks.astype(np.min_scalar_type(int(blocks.max())))


@dataclass(frozen=True)
class Form:
    """How the first tokens of a document become an integer, leaving `low` bits for the document's number.

    `ahead` tokens of `bits` each; with `ends`, each token plus one, and 0 after the document's end.
    """

    low: int
    bits: int
    ahead: int
    ends: bool

    @classmethod
    def of(cls, lengths: Int64[np.ndarray, " N"], vocabulary: int, documents: int) -> Form:
        """The form for documents of these lengths, none of them 0, of which so many are sorted together."""
        low = max(documents - 1, 0).bit_length()
        longest, shortest = int(lengths.max(initial=1)), int(lengths.min(initial=1 << 62))
        bits = max((vocabulary - 1).bit_length(), 1)
        ahead = max(min((WORD - low) // bits, longest), 1)
        if shortest >= ahead:
            return cls(low, bits, ahead, ends=False)
        bits = max(vocabulary.bit_length(), 1)
        return cls(low, bits, max(min((WORD - low) // bits, longest), 1), ends=True)

    def unit(self, length: int) -> int:
        """What one more of the token after `length` tokens adds to a key."""
        return 1 << self.bits * (self.ahead - 1 - length)

    def digits(self, keys: UInt64[np.ndarray, " N"], length: int) -> UInt64[np.ndarray, " N"]:
        """The token after `length` tokens, plus one with `ends`."""
        return (keys >> np.uint64(self.bits * (self.ahead - 1 - length))) & np.uint64((1 << self.bits) - 1)

    def heads(self, keys: UInt64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        """The first token of each document."""
        return (keys >> np.uint64(self.bits * (self.ahead - 1))).view(np.int64) - int(self.ends)

    def keys(
        self, tokens: Int[np.ndarray, " t"], starts: Int64[np.ndarray, " N"], lengths: Int64[np.ndarray, " N"]
    ) -> UInt64[np.ndarray, " N"]:
        """The first tokens of each document as one integer."""
        keys = np.zeros(len(starts), np.uint64)
        for first in range(0, len(starts), IDS_AT_ONCE):
            span = slice(first, first + IDS_AT_ONCE)
            some, its_starts = keys[span], starts[span]
            for t in range(self.ahead):
                some <<= np.uint64(self.bits)
                if self.ends:
                    inside = lengths[span] > t
                    ids = tokens[np.where(inside, its_starts + t, its_starts)].astype(np.uint64)
                    some |= (ids + np.uint64(1)) * inside
                else:
                    some |= tokens[its_starts + t].astype(np.uint64)
        return keys


class _Sequences:
    """Sequences `tokens[start : start + length]`, none of them empty, some of which are counted at once."""

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, vocabulary: int) -> None:
        self._tokens, self._starts, self._lengths, self._vocabulary = tokens, starts, lengths, vocabulary
        self._longest = int(lengths.max())
        self._uniform = self._longest == int(lengths.min())

    def in_a_block(
        self, some: Int64[np.ndarray, " n"], keys: UInt64[np.ndarray, " n"], form: Form
    ) -> tuple[Tally, float]:
        """Totals over some: of the first lengths from one sort, of the others level by level; and what ends add."""
        if form.ahead < 2:
            lengths = self._lengths[some]
            return tally(levels(self._tokens, self._starts[some], lengths, self._vocabulary), lengths)
        longest = self._longest if self._uniform else int(self._lengths[some].max())
        keys, order = ordered(keys, form.low)
        block, totals, alone = _Block(keys, form), Tally.empty(longest), Alone(longest)
        lengths_ahead = min(form.ahead, longest)
        closing = [block.add(length, totals) for length in range(lengths_ahead)]
        alone.add(lengths_ahead, self._of(self._lengths, some, order, block.single()))
        totals.add_alone(alone.contexts())
        places, groups = block.shared()
        if longest > form.ahead:
            lengths = self._of(self._lengths, some, order, places) - form.ahead
            starts = self._starts[some[order[places]]] + form.ahead
            rest, more = tally(levels(self._tokens, starts, lengths, self._vocabulary, groups), lengths)
            totals.add(form.ahead, rest)
            closing.append(more)
        return totals, math.fsum(closing)

    def _of(self, lengths: np.ndarray, some: np.ndarray, order: np.ndarray, places: np.ndarray) -> np.ndarray:
        return lengths[: len(places)] if self._uniform else lengths[some[order[places]]]


class _Block:
    """Sorted keys, read one length after another."""

    def __init__(self, keys: UInt64[np.ndarray, " N"], form: Form) -> None:
        self._keys, self._form = keys, form
        self._differences = keys[1:] ^ keys[:-1]
        self._edges = np.zeros(2, np.int64)
        self._live: np.ndarray | None = None

    def add(self, length: int, totals: Tally) -> float:
        """Adds the contexts of a length, one more than the last, to totals; returns what ends would add."""
        edges = self._edges = self._cut(length)
        counts = edges[1:] - edges[:-1]
        new = np.zeros(len(counts), bool)
        new[0] = True
        if length:
            np.greater_equal(self._differences[edges[1:-1] - 1], np.uint64(self._form.unit(length - 1)), out=new[1:])
        if self._form.ends:
            return self._add_open(length, counts, np.cumsum(new) - 1, totals)
        forks = np.append(new.nonzero()[0], len(counts))
        ends = edges[forks]
        totals.add_contexts(length, counts, forks, totals=ends[1:] - ends[:-1])
        return 0.0

    def single(self) -> Int64[np.ndarray, " n"]:
        """Places of documents that have a context of `ahead` tokens and share it with none."""
        edges = self._edges
        alone = edges[1:] - edges[:-1] == 1
        return edges[:-1][alone if self._live is None else alone & self._live]

    def shared(self) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Places of documents that share such a context, and the number of the context of each."""
        counts = self._edges[1:] - self._edges[:-1]
        several = counts > 1 if self._live is None else (counts > 1) & self._live
        sizes = counts[several]
        return several.repeat(counts).nonzero()[0], np.arange(len(sizes)).repeat(sizes)

    def _add_open(self, length: int, counts: np.ndarray, of: np.ndarray, totals: Tally) -> float:
        """As `add`, where documents may have ended: `of` is the context of each next token."""
        heads = self._keys[self._edges[:-1]]
        live = self._live = self._form.digits(heads, length) != 0
        if live.all():
            totals.add_contexts(length, counts, run_edges(of))
            return 0.0
        on = np.bincount(of[live], weights=counts[live], minlength=int(of[-1]) + 1).astype(np.int64)
        # those that ended one token earlier have been noted there
        ended = ~live & (self._form.digits(heads, length - 1) != 0)
        totals.add_contexts(length, counts[live], run_edges(of[live]))
        return closing_nats(np.stack([counts[ended], on[of[ended]]], axis=1))

    def _cut(self, length: int) -> Int64[np.ndarray, " groups+1"]:
        """Where the keys begin that differ in this token or one before, and the end of the last."""
        change = np.ones(len(self._keys) + 1, bool)
        np.greater_equal(self._differences, np.uint64(self._form.unit(length)), out=change[1:-1])
        return change.nonzero()[0]


DOCUMENT_BYTES = 200
TOKEN_BYTES = 28
SPARSE_TOKEN_BYTES = 72
"""Maximum memory of counting, for each document and each token; the last for ids that are not small."""

Number = TypeVar("Number", int, np.ndarray)


def counting_bytes(documents: Number, tokens: Number, small: bool) -> Number:
    """Maximum memory that counting this many documents with this many tokens takes; `small`: all ids are."""
    return documents * DOCUMENT_BYTES + tokens * (TOKEN_BYTES if small else SPARSE_TOKEN_BYTES)
