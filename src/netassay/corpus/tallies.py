"""Totals over the contexts of documents, by length of context."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, UInt64

# Up to this many sequences are compared ahead, so that long copies do not cost a level per token; and by how much.
FEW = 1 << 14
CELLS = 1 << 18

WORD = 64
MANY = 1 << 14


@dataclass(frozen=True, eq=False)
class Level:
    """The contexts of one length that more than one sequence began with, and their next tokens.

    `members` (m,): the sequences that continue, by context and next token. `edges` (b + 1,): where in `members`
    each (context, next token) begins, and their end. `forks` (a + 1,): where in `edges` each context begins, and
    their end. `closed` (e, 2): for every context at which sequences end, how many end and how many continue; None
    where no sequence ends. `more`: number of further lengths at which the same sequences share the same contexts, each
    with a single next token.
    """

    length: int
    more: int
    members: Int64[np.ndarray, " m"]
    edges: Int64[np.ndarray, " b+1"]
    forks: Int64[np.ndarray, " a+1"]
    counts: Int64[np.ndarray, " b"]
    closed: Int64[np.ndarray, "e 2"] | None

    @property
    def widths(self) -> Int64[np.ndarray, " a"]:
        """Distinct next tokens of each context."""
        return self.forks[1:] - self.forks[:-1]

    @property
    def totals(self) -> Int64[np.ndarray, " a"]:
        """Sequences that continue after each context."""
        ends = self.edges[self.forks]
        return ends[1:] - ends[:-1]

    @property
    def alone(self) -> Int64[np.ndarray, " l"]:
        """The sequences whose prefix of length + 1 is unique; they are in no later level."""
        return self.members[self.edges[:-1][self.counts == 1]]


def levels(
    tokens: Int[np.ndarray, " t"],
    starts: Int64[np.ndarray, " N"],
    lengths: Int64[np.ndarray, " N"],
    vocabulary: int,
) -> Iterator[Level]:
    """Levels of the trie of the sequences `tokens[start : start + length]`, from the empty context on.

    Tokens lie in 0..vocabulary - 1. A sequence drops out as soon as its prefix is unique, so a level costs one
    sort of the others. Exact: the sort keys are (context, token, sequence) themselves,
    packed into 64 bits; nothing is hashed.
    """
    bits = max(vocabulary - 1, 0).bit_length()
    active = np.flatnonzero(lengths > 0)
    group = np.zeros(len(active), np.int64)
    length, shortest = 0, int(lengths[active].min()) if len(active) else 0
    while len(active):
        closed = None
        if length >= shortest:
            going = lengths[active] > length
            closed = _closed(group, going)
            active, group = active[going], group[going]
        keys, order = _sorted(group, tokens[starts[active] + length], bits)
        edges = run_edges(keys)
        forks = run_edges(keys[edges[:-1]] >> np.uint64(bits))
        counts, members = edges[1:] - edges[:-1], active[order]
        shared = counts > 1
        sizes = counts[shared]
        active = members[shared.repeat(counts)]
        group = np.arange(len(sizes)).repeat(sizes)
        more = 0
        if len(sizes) == len(counts) == len(forks) - 1 and 0 < len(active) <= FEW:
            more = _agreeing(tokens, starts[active] + length + 1, int(lengths[active].min()) - length - 1, sizes)
        yield Level(length, more, members, edges, forks, counts, closed)
        length += 1 + more


def _agreeing(tokens: np.ndarray, places: np.ndarray, limit: int, sizes: np.ndarray) -> int:
    """Number of tokens from `places` on, up to `limit`, that agree throughout each group of these sizes."""
    heads = np.repeat(np.cumsum(sizes) - sizes, sizes)
    shared, width = 0, 8
    while shared < limit:
        width = min(2 * width, limit - shared, max(CELLS // len(places), 1))
        block = tokens[np.add.outer(places, np.arange(shared, shared + width))]
        same = (block == block[heads]).all(axis=0)
        if not same.all():
            return shared + int(same.argmin())
        shared += width
    return shared


def _sorted(group: np.ndarray, token: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(group, token) as one integer, ascending, and the order that sorts them; `group` ascends already."""
    keys = (group.view(np.uint64) << np.uint64(bits)) | token.astype(np.uint64)
    low = max(len(keys) - 1, 0).bit_length()
    high = (int(group[-1]) if len(group) else 0).bit_length()
    assert high + bits <= 64, "more (context, token) pairs than 64 bits can number"
    if high + bits + low > WORD:
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    # sorting bare integers is several times faster than sorting an index by them
    keys <<= np.uint64(low)
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys = ascending(keys)
    order = (keys & np.uint64((1 << low) - 1)).view(np.int64)
    keys >>= np.uint64(low)
    return keys, order


def ascending(keys: UInt64[np.ndarray, " k"]) -> UInt64[np.ndarray, " k"]:
    """The integers in order, small ones first."""
    if len(keys) < MANY:
        return np.sort(keys)
    import polars as pl

    # 14 ns a number; NumPy's AVX-512 sort takes 50 on Zen 4, whose compress-store instruction is slow

    return pl.Series(keys).sort().to_numpy(writable=True)


def run_edges(keys: np.ndarray) -> Int64[np.ndarray, " groups+1"]:
    """Where each run of equal keys begins, and the end of the last."""
    if not len(keys):
        return np.zeros(1, np.int64)
    change = np.empty(len(keys) + 1, bool)
    change[0] = change[-1] = True
    np.not_equal(keys[1:], keys[:-1], out=change[1:-1])
    return change.nonzero()[0]


def _closed(group: np.ndarray, going: np.ndarray) -> Int64[np.ndarray, "e 2"]:
    groups = int(group[-1]) + 1
    ended = np.bincount(group[~going], minlength=groups)
    on = np.bincount(group[going], minlength=groups)
    return np.stack([ended, on], axis=1)[ended > 0]


TOKENS_AT_ONCE = 1 << 16
RELATIVE_ROUNDING = 1e-11


def telescoped_bound(documents: int, multiplicities: Int64[np.ndarray, " distinct"]) -> float:
    """N ln N - sum over distinct documents of c ln c in nats: N times the entropy of the documents' own distribution.

    It equals the entropy lower bound, empty context included, of documents of equal length, or of any lengths where
    the end of a document counts as a token.

    Args:
        documents: N.
        multiplicities: (distinct,) how often each distinct document occurs; their sum is N.

    Returns:
        The bound in nats.

    Example:
        >>> import netassay, numpy as np
        >>> round(netassay.corpus.telescoped_bound(2, np.array([1, 1])), 3)
        1.386
    """
    return x_ln_x(documents) - sum_x_ln_x(multiplicities)


def closing_nats(closed: Int64[np.ndarray, "e 2"]) -> float:
    """What the ends of documents add to the bound when they count as tokens, at contexts where some end.

    Rows of `closed` hold how many documents end at a context and how many continue.
    """
    ended, on = closed[:, 0], closed[:, 1]
    return sum_x_ln_x(ended + on) - sum_x_ln_x(on) - sum_x_ln_x(ended)


def require_telescoped(tokens: Int[np.ndarray, " t"], lengths: Int64[np.ndarray, " N"], nats_with_ends: float) -> float:
    """Asserts that a bound computed context by context equals the telescoped one, from entire documents.

    Returns the sum over distinct documents of c ln c, which the telescoped bound subtracts.

    `tokens` (t,) are the documents one after another, `nats_with_ends` the bound with the empty context and the
    ends of documents counted as tokens. Documents are compared by a 64-bit hash first and, if the numbers then
    differ, by their tokens.
    """
    lengths = lengths[lengths > 0]
    rounding = RELATIVE_ROUNDING * max(x_ln_x(len(lengths)), 1.0)
    hashes = document_hashes(tokens, lengths)
    counts = np.diff(run_edges(ascending(hashes)))
    if abs(nats_with_ends - telescoped_bound(len(lengths), counts)) <= rounding:
        return sum_x_ln_x(counts)
    edges = np.cumsum(lengths)
    documents = Counter(tokens[edge - size : edge].tobytes() for edge, size in zip(edges, lengths, strict=True))
    counts = np.fromiter(documents.values(), np.int64, len(documents))
    expected = telescoped_bound(len(lengths), counts)
    assert abs(nats_with_ends - expected) <= rounding, (
        f"the contexts add up to {nats_with_ends!r} nats with the ends of documents, the documents to {expected!r}"
    )
    return sum_x_ln_x(counts)


def document_hashes(tokens: Int[np.ndarray, " t"], lengths: Int64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    """A 64-bit number for each document, none of them empty, equal for equal documents."""
    edges = np.concatenate([[0], np.cumsum(lengths)])
    odd = spread_bits(np.arange(1, int(lengths.max(initial=0)) + 1, dtype=np.uint64)) | np.uint64(1)
    hashes = np.empty(len(lengths), np.uint64)
    first = 0
    while first < len(lengths):
        # whole documents, about TOKENS_AT_ONCE together, at least one
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + TOKENS_AT_ONCE, "right")) - 1)
        begin, sizes = edges[first:last] - edges[first], lengths[first:last]
        mixed = spread_bits(tokens[edges[first] : edges[last]].astype(np.uint64))
        if sizes.min() == sizes.max():
            hashes[first:last] = mixed.reshape(len(sizes), -1) @ odd[: sizes[0]]
        else:
            mixed *= odd[np.arange(len(mixed)) - np.repeat(begin, sizes)]
            hashes[first:last] = np.add.reduceat(mixed, begin)
        first = last
    return hashes


def spread_bits(x: UInt64[np.ndarray, " x"]) -> UInt64[np.ndarray, " x"]:
    """Spreads the bits of integers, a half round of SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    return x


def x_ln_x(x: int) -> float:
    return x * math.log(x) if x else 0.0


def sum_x_ln_x(x: np.ndarray) -> float:
    several = x[x > 1]
    return float(np.sum(several * np.log(several)))


class Tally(NamedTuple):
    """Per length of context (T,): contexts, predictions, certain contexts, branches, unequal branches, most next
    tokens, nats.
    """

    contexts: np.ndarray
    predictions: np.ndarray
    certain: np.ndarray
    branches: np.ndarray
    unequal: np.ndarray
    widest: np.ndarray
    nats: np.ndarray


def dense_ids(tokens: Int[np.ndarray, " t"]) -> tuple[Int[np.ndarray, " t"], int, int]:
    """Tokens as ids 0..vocabulary - 1 (unchanged if they are dense enough), vocabulary, number of distinct tokens."""
    if not len(tokens):
        return tokens, 0, 0
    # read as unsigned, a negative token exceeds any dense id
    largest = int(tokens.view(tokens.dtype.str.replace("i", "u")).max())
    if largest < max(4 * len(tokens), 1 << 16):
        present = np.zeros(largest + 1, bool)
        present[tokens] = True
        return tokens, largest + 1, int(present.sum())
    distinct, ids = np.unique(tokens, return_inverse=True)
    return ids, len(distinct), len(distinct)


def tally(levels: Iterable[Level], lengths: Int64[np.ndarray, " N"]) -> tuple[Tally, float]:
    """Totals over the levels of sequences of these lengths, and what their ends would add to the bound."""
    longest = int(lengths.max(initial=0))
    shared, certain, branches, unequal, predicted, widest = np.zeros((6, longest), np.int64)
    nats, closing = np.zeros(longest), []
    alone = np.zeros(longest + 1, np.int64)
    for level in levels:
        if level.closed is not None:
            closing.append(closing_nats(level.closed))
        if not len(level.counts):
            continue
        t, widths, single = level.length, level.widths, level.alone
        span = slice(t, t + 1 + level.more)
        shared[span], predicted[span] = len(widths), len(level.members)
        certain[span] = np.count_nonzero(widths == 1)
        widest[span] = widths.max()
        branches[t] = len(level.counts) - len(widths)
        unequal[t] = unequal_branches(level.counts, widths)
        nats[t] = level_nats(level)
        # a sequence alone from length t + 1 on has one context at each length below its own
        alone[t + 1] += len(single)
        np.subtract.at(alone, lengths[single], 1)
    own = np.cumsum(alone)[:-1]
    assert predicted.sum() + own.sum() == lengths.sum(), "the contexts' counts do not add up to the tokens"
    return Tally(
        shared + own, predicted + own, certain + own, branches, unequal, np.maximum(widest, own > 0), nats
    ), math.fsum(closing)


def unequal_branches(counts: Int64[np.ndarray, " b"], widths: Int64[np.ndarray, " a"]) -> int:
    """Distinct counts less one, summed over contexts, which have `widths` next tokens each."""
    split = widths > 1
    if not split.any():
        return 0
    owner = np.flatnonzero(split).repeat(widths[split])
    several = counts[split.repeat(widths)]
    order = np.lexsort((several, owner))
    several, owner = several[order], owner[order]
    return int(((several[1:] != several[:-1]) & (owner[1:] == owner[:-1])).sum())


def level_nats(level: Level) -> float:
    """Sum over contexts and next tokens of c ln(total / c); every term is positive, so nothing cancels."""
    widths = level.widths
    split = widths > 1
    if not split.any():
        return 0.0
    counts = level.counts[split.repeat(widths)]
    return counts_nats(counts, level.totals[split].repeat(widths[split]))


def counts_nats(counts: Int64[np.ndarray, " g"], totals: Int64[np.ndarray, " g"]) -> float:
    """Sum of c ln(total / c) over next tokens, each with the total of its context."""
    once = counts == 1
    several, sums = counts[~once], totals[~once]
    # log1p keeps precision where c is nearly the total
    return float(np.log(totals[once]).sum() + (several * np.log1p((sums - several) / several)).sum())
