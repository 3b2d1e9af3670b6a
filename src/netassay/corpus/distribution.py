"""Next-token distributions of the unique contexts, as sparse counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64

from netassay.corpus.prefixes import levels
from netassay.errors import DataError
from netassay.formats.documents import Documents


@dataclass(frozen=True, eq=False)
class Distributions:
    """n contexts, each with its distinct next tokens and how often each follows.

    Ordered by length, then by where a context first occurs.

    Attributes:
        lengths: (n,) lengths of the contexts.
        edges: (n + 1,) the next tokens of context i are `tokens[edges[i] : edges[i + 1]]`.
        tokens: (k,) next tokens, ascending for each context.
        counts: (k,) how often each follows.
        starts: (n,) where in the corpus's tokens each context first occurs.

    Example:
        >>> import netassay
        >>> result = netassay.contexts([[0, 1, 2], [0, 2, 1]]).distributions()
        >>> result.lengths.tolist(), result.tokens.tolist()
        ([1, 2, 2], [1, 2, 2, 1])
    """

    lengths: Int64[np.ndarray, " n"]
    edges: Int64[np.ndarray, " n+1"]
    tokens: Int[np.ndarray, " k"]
    counts: Int64[np.ndarray, " k"]
    starts: Int64[np.ndarray, " n"] = field(repr=False)
    _corpus: Documents = field(repr=False)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def supports(self) -> Int64[np.ndarray, " n"]:
        """Distinct next tokens of each context."""
        return np.diff(self.edges)

    @property
    def totals(self) -> Int64[np.ndarray, " n"]:
        """Documents that continue after each context."""
        return np.add.reduceat(self.counts, self.edges[:-1]) if len(self) else np.empty(0, np.int64)

    @property
    def probabilities(self) -> Float64[np.ndarray, " k"]:
        """p^ of each (context, next token), at the places of `tokens`."""
        return self.counts / np.repeat(self.totals, self.supports)

    def context(self, i: int) -> Int[np.ndarray, " length"]:
        """The tokens of context i."""
        return self._corpus.tokens[self.starts[i] : self.starts[i] + self.lengths[i]]

    def words(self, i: int) -> tuple[tuple[str, ...], dict[str, int]]:
        """Context i in words, with its next words and their counts; DataError for a corpus of bare token ids."""
        span = slice(self.edges[i], self.edges[i + 1])
        context, following = (
            self._corpus.words(self.context(i).tolist()),
            self._corpus.words(self.tokens[span].tolist()),
        )
        if context is None or following is None:
            raise DataError("the corpus was given as token ids, whose words are not known; read it from its texts")
        return context, dict(zip(following, self.counts[span].tolist(), strict=True))

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], dict[int, int]]]:
        """Each context as a tuple of tokens, with its next tokens and their counts."""
        for i in range(len(self)):
            span = slice(self.edges[i], self.edges[i + 1])
            pairs = zip(self.tokens[span].tolist(), self.counts[span].tolist(), strict=True)
            yield tuple(self.context(i).tolist()), dict(pairs)


def distributions(
    corpus: Documents, ids: Int[np.ndarray, " t"], vocabulary: int, *, window: int | None, empty: bool
) -> Distributions:
    """The contexts of a corpus with their next tokens.

    Args:
        corpus: The documents.
        ids: (t,) its tokens renumbered 0..vocabulary - 1.
        vocabulary: Number of distinct tokens (1 or more).
        window: Maximum length of a context; None: unlimited.
        empty: Whether to include the empty context.

    Returns:
        The distributions, ordered by length, then by where a context first occurs.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> corpus = netassay.contexts([[0, 1, 2], [0, 2, 1]])
        >>> result = netassay.corpus.distributions(corpus.corpus, corpus.corpus.tokens, 3, window=None, empty=False)
        >>> result.counts.tolist()
        [1, 1, 1, 1]
    """
    starts, lengths = corpus.offsets[:-1], corpus.lengths
    if window is None:
        parts = list(_entries(ids, starts, lengths, vocabulary))
    else:
        grams = window_starts(corpus, window)
        parts = [
            *_entries(ids, starts, np.minimum(lengths, window), vocabulary),
            *_entries(ids, grams, np.full(len(grams), window + 1), vocabulary, shortest=window),
        ]
    entries = _Entries(*map(np.concatenate, zip(_NOTHING, *parts, strict=True)))
    return _ordered(entries, corpus, shortest=0 if empty else 1)


def window_starts(corpus: Documents, window: int) -> Int64[np.ndarray, " w"]:
    """Where the runs of window + 1 tokens within documents begin."""
    runs = np.maximum(corpus.lengths - window, 0)
    return np.arange(runs.sum()) + np.repeat(corpus.offsets[:-1] - np.cumsum(runs) + runs, runs)


class _Entries(NamedTuple):
    """Contexts (start of an occurrence, length, support) and their entries (place of a next token, count)."""

    starts: np.ndarray
    lengths: np.ndarray
    supports: np.ndarray
    places: np.ndarray
    counts: np.ndarray


_NOTHING = _Entries(*(np.empty(0, np.int64) for _ in range(5)))


def _entries(
    ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, vocabulary: int, *, shortest: int = 0
) -> Iterator[_Entries]:
    """The contexts of at least `shortest` tokens, level by level."""
    for level in levels(ids, starts, lengths, vocabulary):
        spans = np.arange(max(shortest, level.length), level.length + level.more + 1)
        if len(level.counts) and len(spans):
            begin = np.minimum.reduceat(starts[level.members], level.edges[level.forks[:-1]])
            firsts = starts[level.members[level.edges[:-1]]]
            yield _Entries(
                np.tile(begin, len(spans)),
                np.repeat(spans, len(begin)),
                np.tile(level.widths, len(spans)),
                np.add.outer(spans, firsts).ravel(),
                np.tile(level.counts, len(spans)),
            )
        # a sequence on its own from here on: each longer prefix is a context with one next token
        alone = level.alone
        after = max(level.length + 1, shortest)
        remaining = np.maximum(lengths[alone] - after, 0)
        begin = np.repeat(starts[alone], remaining)
        size = after + np.arange(len(begin)) - np.repeat(np.cumsum(remaining) - remaining, remaining)
        once = np.ones_like(begin)
        yield _Entries(begin, size, once, begin + size, once)


def _ordered(entries: _Entries, corpus: Documents, shortest: int) -> Distributions:
    order = np.lexsort((entries.starts, entries.lengths))
    order = order[entries.lengths[order] >= shortest]
    supports = entries.supports[order]
    edges = np.concatenate([[0], np.cumsum(supports)])
    first = (np.cumsum(entries.supports) - entries.supports)[order]
    entry = np.arange(edges[-1]) + np.repeat(first - edges[:-1], supports)
    tokens = corpus.tokens[entries.places[entry]]
    return Distributions(entries.lengths[order], edges, tokens, entries.counts[entry], entries.starts[order], corpus)
