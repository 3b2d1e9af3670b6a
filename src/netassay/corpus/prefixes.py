"""The prefixes that sequences share, length by length: a trie walked breadth first by sorting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from netassay.corpus.tallies import PREDICTIONS, Alone, Tally, closing_nats, ordered, run_edges

# Up to this many sequences are compared ahead, so that long copies do not cost a level per token; and by how much.
FEW = 1 << 14
CELLS = 1 << 18

WORD = 64


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
    groups: Int64[np.ndarray, " N"] | None = None,
) -> Iterator[Level]:
    """Levels of the trie of the sequences `tokens[start : start + length]`, from the empty context on.

    `groups`, in ascending order, numbers contexts that sequences share before their first token: sequences of two
    groups have nothing in common.

    Tokens lie in 0..vocabulary - 1. A sequence drops out as soon as its prefix is unique, so a level costs one
    sort of the others. Exact: the sort keys are (context, token, sequence) themselves,
    packed into 64 bits; nothing is hashed.
    """
    bits = max(vocabulary - 1, 0).bit_length()
    # a sequence that ends at once matters where others go on after the context before it
    active = np.flatnonzero(lengths > 0) if groups is None else np.arange(len(lengths))
    group = np.zeros(len(active), np.int64) if groups is None else groups
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
    return ordered(keys, low)


def _closed(group: np.ndarray, going: np.ndarray) -> Int64[np.ndarray, "e 2"]:
    groups = int(group[-1]) + 1
    ended = np.bincount(group[~going], minlength=groups)
    on = np.bincount(group[going], minlength=groups)
    return np.stack([ended, on], axis=1)[ended > 0]
