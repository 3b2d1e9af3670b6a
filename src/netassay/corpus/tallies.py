"""Totals over the contexts of documents, by length of context."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64

from netassay.corpus.prefixes import Level
from netassay.corpus.telescope import closing_nats


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
