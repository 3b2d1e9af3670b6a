"""Totals over contexts by length, in exact sums, and the number that all of them must add up to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int, Int64, UInt64

UNIT = 1 << 44
"""Units to the nat. Every term is rounded to a unit; units are whole numbers, whose sums are exact in any order."""

TERMS_AT_ONCE = 1 << 15

MANY = 1 << 10
"""Integers from which on Polars sorts them faster than NumPy."""


def ordered(keys: UInt64[np.ndarray, " k"], low: int) -> tuple[UInt64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Integers in order, and the order that sorts them, which takes their `low` first bits; `keys` are overwritten."""
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


def in_units(terms: Float64[np.ndarray, " terms"]) -> int:
    """The sum of terms of 0 or more, each rounded to a unit."""
    total = 0
    for first in range(0, len(terms), TERMS_AT_ONCE):
        block = terms[first : first + TERMS_AT_ONCE]
        nats = np.floor(block)
        rest = np.rint((block - nats) * UNIT).astype(np.int64)
        # below 2^53 and 2^63, so neither sum rounds
        total += int(nats.sum()) * UNIT + int(rest.sum())
    return total


def logs_in_units(values: Int64[np.ndarray, " values"], times: Int64[np.ndarray, " values"]) -> int:
    """The sum of ln(value), each as often as stated and rounded to a unit."""
    units = np.rint(np.log(values) * UNIT).astype(np.int64)
    # in two halves, so that no product exceeds 64 bits
    high, low = units >> 25, units & ((1 << 25) - 1)
    return (int(high @ times) << 25) + int(low @ times)


def from_units(units: int) -> float:
    """Nats, correctly rounded."""
    return units / UNIT


def counts_in_units(counts: Int64[np.ndarray, " g"], totals: Int64[np.ndarray, " g"]) -> int:
    """Sum of c ln(total / c) over next tokens, each with the total of its context; no term is negative."""
    # log1p keeps precision where c is nearly the total
    return in_units(counts * np.log1p((totals - counts) / counts))


def closing_nats(closed: Int64[np.ndarray, "e 2"]) -> float:
    """What the ends of documents add to the bound when they count as tokens, at contexts where some end.

    Rows of `closed` hold how many documents end at a context and how many continue.
    """
    ended, on = closed[:, 0], closed[:, 1]
    return sum_x_ln_x(ended + on) - sum_x_ln_x(on) - sum_x_ln_x(ended)


def x_ln_x(x: int) -> float:
    """x ln x, 0 for 0."""
    return x * math.log(x) if x else 0.0


def sum_x_ln_x(x: np.ndarray) -> float:
    """The sum of x ln x over whole numbers."""
    several = x[x > 1]
    return float(np.sum(several * np.log(several)))


CONTEXTS, PREDICTIONS, CERTAIN, BRANCHES, UNEQUAL, WIDEST = range(6)


@dataclass(eq=False)
class Tally:
    """Totals by length of context.

    `numbers` (6, T): contexts, predictions, certain contexts, branches, unequal branches, most next tokens.
    `units`: the bound's units of a nat at each length that has any, as whole numbers.
    """

    numbers: Int64[np.ndarray, "6 T"]
    units: Counter[int] = field(default_factory=Counter)

    @classmethod
    def empty(cls, longest: int) -> Tally:
        """No contexts, of documents of up to `longest` tokens."""
        return cls(np.zeros((6, longest), np.int64))

    @property
    def nats(self) -> Float64[np.ndarray, " T"]:
        """Contribution to the bound at each length, each correctly rounded."""
        nats = np.zeros(self.numbers.shape[1])
        for length, units in self.units.items():
            nats[length] = from_units(units)
        return nats

    @property
    def total_nats(self) -> float:
        """The bound, correctly rounded."""
        return from_units(self.units.total())

    def without_empty(self) -> Tally:
        """The totals of all contexts but the empty one, which are changed in place."""
        self.numbers[:, :1] = 0
        self.units.pop(0, None)
        return self

    def add(self, length: int, other: Tally) -> None:
        """Adds totals whose contexts have `length` tokens more than they say."""
        span = slice(length, length + other.numbers.shape[1])
        widest = np.maximum(self.numbers[WIDEST, span], other.numbers[WIDEST])
        self.numbers[:, span] += other.numbers
        self.numbers[WIDEST, span] = widest
        for own, units in other.units.items():
            self.units[length + own] += units

    def add_contexts(
        self,
        length: int,
        counts: Int64[np.ndarray, " b"],
        forks: Int64[np.ndarray, " a+1"],
        more: int = 0,
        totals: Int64[np.ndarray, " a"] | None = None,
    ) -> None:
        """Adds contexts of a length by how often each next token follows, and `more` lengths after it alike.

        `forks` says where in `counts` each context begins, and their end; `totals` the sum of counts of each.
        """
        if not len(counts):
            return
        widths = forks[1:] - forks[:-1]
        if totals is None:
            totals = np.add.reduceat(counts, forks[:-1])
        span = slice(length, length + 1 + more)
        self.numbers[CONTEXTS, span] += len(widths)
        self.numbers[PREDICTIONS, span] += totals.sum()
        self.numbers[CERTAIN, span] += np.count_nonzero(widths == 1)
        self.numbers[WIDEST, span] = np.maximum(self.numbers[WIDEST, span], widths.max())
        self.numbers[BRANCHES, length] += len(counts) - len(widths)
        if len(counts) > len(widths):
            unequal, units = branching(counts, widths, totals)
            self.numbers[UNEQUAL, length] += unequal
            self.units[length] += units

    def add_context(self, length: int, counts: Int64[np.ndarray, " b"], more: int = 0) -> None:
        """Adds one context, as `add_contexts`."""
        self.add_contexts(length, counts, np.array([0, len(counts)]), more)

    def add_alone(self, own: Int64[np.ndarray, " T"]) -> None:
        """Adds contexts that one document has, by length."""
        self.numbers[: CERTAIN + 1] += own
        self.numbers[WIDEST] = np.maximum(self.numbers[WIDEST], own > 0)


class Alone:
    """Documents that share no further context with others, up to `longest` tokens long."""

    def __init__(self, longest: int) -> None:
        self._changes = np.zeros(longest + 1, np.int64)

    def add(self, length: int, lengths: Int64[np.ndarray, " n"]) -> None:
        """Documents of some lengths, each with one context at each length from `length` to below its own."""
        if not len(lengths):
            return
        self._changes[length] += len(lengths)
        if 8 * len(lengths) < len(self._changes):
            np.subtract.at(self._changes, lengths, 1)
        else:
            self._changes -= np.bincount(lengths, minlength=len(self._changes))

    def contexts(self) -> Int64[np.ndarray, " T"]:
        """Their contexts by length."""
        return np.cumsum(self._changes)[:-1]


def dense_ids(tokens: Int[np.ndarray, " t"]) -> tuple[Int[np.ndarray, " t"], int]:
    """Tokens as ids 0..vocabulary - 1, unchanged if they are dense enough, and the vocabulary."""
    if not len(tokens):
        return tokens, 0
    # read as unsigned, a negative token exceeds any dense id
    largest = int(tokens.view(tokens.dtype.str.replace("i", "u")).max())
    if largest < max(4 * len(tokens), 1 << 16):
        return tokens, largest + 1
    distinct, ids = np.unique(tokens, return_inverse=True)
    return ids, len(distinct)


def branching(
    counts: Int64[np.ndarray, " b"], widths: Int64[np.ndarray, " a"], totals: Int64[np.ndarray, " a"]
) -> tuple[int, int]:
    """Distinct counts less one, summed over contexts of `widths` next tokens each, and units of c ln(total / c)."""
    several = np.flatnonzero(counts > 1)
    of = np.arange(len(widths)).repeat(widths)[several]
    often = counts[several]
    once = widths - np.bincount(of, minlength=len(widths))
    bits = int(often.max(initial=0)).bit_length()
    keys = (of.view(np.uint64) << np.uint64(bits)) | often.view(np.uint64)
    distinct = len(run_edges(ascending(keys))) - 1 + int(np.count_nonzero(once))
    open_ = np.flatnonzero((once > 0) & (totals > 1))
    units = counts_in_units(often, totals[of]) + logs_in_units(totals[open_], once[open_])
    return distinct - len(widths), units


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
