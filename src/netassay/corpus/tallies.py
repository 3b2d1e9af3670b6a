"""Totals over the contexts of documents, by length of context."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int, Int64

from netassay.corpus.nats import closing_nats, counts_in_units, from_units, logs_in_units
from netassay.corpus.prefixes import Level, ascending, run_edges

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


def tally(levels: Iterable[Level], lengths: Int64[np.ndarray, " N"]) -> tuple[Tally, float]:
    """Totals over the levels of sequences of these lengths, and what their ends would add to the bound."""
    longest = int(lengths.max(initial=0))
    totals, alone, closing = Tally.empty(longest), Alone(longest), list[float]()
    for level in levels:
        if level.closed is not None:
            closing.append(closing_nats(level.closed))
        totals.add_contexts(level.length, level.counts, level.forks, level.more, level.totals)
        alone.add(level.length + 1, lengths[level.alone])
    totals.add_alone(alone.contexts())
    assert totals.numbers[PREDICTIONS].sum() == lengths.sum(), "the contexts' counts do not add up to the tokens"
    return totals, math.fsum(closing)


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
