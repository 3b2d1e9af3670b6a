"""The telescoped bound: one number that every count of a corpus's contexts must add up to."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from jaxtyping import Int, Int64, UInt64

from netassay.corpus.prefixes import ascending, run_edges

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
