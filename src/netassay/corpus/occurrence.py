"""How often each context that a model is fed occurs, and what follows it: prediction by prediction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from netassay.corpus.feed import Feed
from netassay.corpus.prefixes import Level, levels
from netassay.corpus.tallies import dense_ids


class Occurrences(NamedTuple):
    """For each of P predictions of a feed, the context that it is made from.

    Attributes:
        contexts: (P,) number of the prediction where the context first occurs, the same for all its occurrences.
        totals: (P,) predictions made from the context.
        counts: (P,) those among them of the same token.
        supports: (P,) distinct next tokens of the context.
        likeliest: (P,) whether no next token of the context is more frequent than this one.

    Example:
        >>> import netassay
        >>> netassay.corpus.occurrences(netassay.corpus.Feed.of([[1, 2], [1, 3], [1, 3]])).counts.tolist()
        [1, 2, 2]
    """

    contexts: Int64[np.ndarray, " P"]
    totals: Int64[np.ndarray, " P"]
    counts: Int64[np.ndarray, " P"]
    supports: Int64[np.ndarray, " P"]
    likeliest: Bool[np.ndarray, " P"]

    def nats(self) -> Float64[np.ndarray, " P"]:
        """(P,) ln(total / count), which adds up to the entropy bound on exactly these contexts."""
        # log1p keeps precision where the count is nearly the total
        return np.log1p((self.totals - self.counts) / self.counts)


def occurrences(feed: Feed) -> Occurrences:
    """The context of each prediction of a feed, how often it occurs and what follows it.

    A context is a row's tokens from its beginning, as the model reads them. Takes a sort for each length at which
    rows share their beginning, and about 60 bytes of memory per prediction.

    Args:
        feed: Rows and the tokens predicted in them.

    Returns:
        The arrays.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> feed = netassay.corpus.Feed.of([[1, 2], [1, 3], [1, 3]])
        >>> round(float(netassay.corpus.occurrences(feed).nats().sum()), 3)
        1.91
    """
    ids, vocabulary = dense_ids(feed.tokens)
    ones = np.ones(feed.predictions, np.int64)
    answer = Occurrences(np.arange(feed.predictions), ones, ones.copy(), ones.copy(), np.ones(len(ones), bool))
    before = feed.edges[:-1] - feed.skips
    for level in levels(ids, feed.starts, feed.lengths, vocabulary):
        if len(level.counts):
            _note(level, feed.skips[level.members], before[level.members], answer)
    return answer


def _note(level: Level, skips: np.ndarray, before: np.ndarray, answer: Occurrences) -> None:
    """Fills in the predictions of a level; rows whose contexts occur once keep their initial values."""
    heads, forks = level.edges[:-1], level.forks[:-1]
    last = level.length + level.more
    length = max(level.length, int(skips.min()))
    while length <= last:
        scored = skips <= length
        # from where all members are scored, no length differs from the next
        alike = bool(scored.all())
        counts = np.add.reduceat(scored.astype(np.int64), heads)
        totals = np.add.reduceat(counts, forks)
        supports = np.add.reduceat((counts > 0).astype(np.int64), forks)
        highest = np.maximum.reduceat(counts, forks)
        places = np.where(scored, before + length, np.iinfo(np.int64).max)
        first = np.minimum.reduceat(places, heads[forks])
        by_entry = np.repeat(np.arange(len(forks)), level.widths)
        entry = np.repeat(np.arange(len(heads)), level.counts)[scored]
        context = by_entry[entry]
        values = (first[context], totals[context], counts[entry], supports[context], counts[entry] == highest[context])
        lengths = np.arange(last - length + 1 if alike else 1)
        where = np.add.outer(lengths, places[scored])
        answer.contexts[where] = np.add.outer(lengths, values[0])
        for array, value in zip(answer[1:], values[1:], strict=True):
            array[where] = value
        length += len(lengths)
