"""Totals over the contexts of a corpus in memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Int

from netassay.corpus.distribution import window_starts
from netassay.corpus.keys import counted, tallied
from netassay.corpus.piles import AT_ONCE, SMALL_IDS, in_piles, sum_counts
from netassay.corpus.tallies import Tally
from netassay.corpus.telescope import require_equal
from netassay.formats.documents import Documents

MANY = 1 << 18
"""Documents above which they are moved apart before they are counted, as the processor's cache holds no more."""

PRESENT_AT_ONCE = 1 << 15


def distinct(ids: Int[np.ndarray, " t"], vocabulary: int) -> int:
    """How many of 0..vocabulary - 1 occur."""
    present = np.zeros(vocabulary, bool)
    for first in range(0, len(ids), PRESENT_AT_ONCE):
        present[ids[first : first + PRESENT_AT_ONCE].astype(np.intp)] = True
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
