"""The telescoped bound: one number that every count of a corpus's contexts must add up to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64, UInt64

from netassay.corpus.nats import sum_x_ln_x, x_ln_x
from netassay.corpus.prefixes import ascending, run_edges

TOKENS_AT_ONCE = 1 << 16
FEW = 16
"""Words of a document up to which they are added up column by column."""

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


def require_equal(nats: float, closing: Sequence[float], documents: int, terms: Sequence[float]) -> None:
    """Asserts that parts of a corpus add up: their nats, with their ends, and their sums of c ln c over documents."""
    nats = math.fsum([nats, *closing])
    expected = x_ln_x(documents) - math.fsum(terms)
    assert abs(nats - expected) <= RELATIVE_ROUNDING * max(x_ln_x(documents), 1.0), (
        f"the parts add up to {nats!r} nats with the ends of documents, the documents to {expected!r}"
    )


def document_hashes(tokens: Int[np.ndarray, " t"], lengths: Int64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    """A 64-bit number for each document, none of them empty, equal for equal documents."""
    if len(lengths) and lengths.min() == lengths.max():
        return _hashes_of_rows(tokens, int(lengths[0]))
    edges = np.concatenate([[0], np.cumsum(lengths)])
    odd = _multipliers(int(lengths.max(initial=0)))
    hashes = np.empty(len(lengths), np.uint64)
    first = 0
    while first < len(lengths):
        # whole documents, about TOKENS_AT_ONCE together, at least one
        last = max(first + 1, int(np.searchsorted(edges, edges[first] + TOKENS_AT_ONCE, "right")) - 1)
        begin, sizes = edges[first:last] - edges[first], lengths[first:last]
        mixed = spread_bits(tokens[edges[first] : edges[last]].astype(np.uint64))
        mixed *= odd[np.arange(len(mixed)) - np.repeat(begin, sizes)]
        hashes[first:last] = np.add.reduceat(mixed, begin)
        first = last
    return hashes


def _hashes_of_rows(tokens: Int[np.ndarray, " t"], length: int) -> UInt64[np.ndarray, " N"]:
    """As `document_hashes`, of documents of one length, which are taken as words of up to 8 bytes."""
    size = length * tokens.itemsize
    # narrow tokens in words of 4 bytes, whose products keep all their bits
    width = next((width for width in (4, 2) if tokens.itemsize < width and not size % width), tokens.itemsize)
    if width > tokens.itemsize:
        tokens, length = np.ascontiguousarray(tokens).view(f"u{width}"), size // width
    words, odd = tokens.reshape(-1, length), _multipliers(length)
    hashes = np.empty(len(words), np.uint64)
    rows = max(TOKENS_AT_ONCE // length, 1)
    for first in range(0, len(words), rows):
        block = words[first : first + rows].astype(np.uint64)
        if width == 8:
            block = spread_bits(block)
        hashes[first : first + rows] = block @ odd if length > FEW else sum(block[:, i] * odd[i] for i in range(length))
    return hashes


def _multipliers(count: int) -> UInt64[np.ndarray, " count"]:
    """Odd numbers of 64 scattered bits."""
    return spread_bits(spread_bits(np.arange(1, count + 1, dtype=np.uint64))) | np.uint64(1)


def spread_bits(x: UInt64[np.ndarray, " x"]) -> UInt64[np.ndarray, " x"]:
    """Spreads the bits of integers, a half round of SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    return x
