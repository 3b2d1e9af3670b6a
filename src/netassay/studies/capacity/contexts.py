"""The unique contexts of a corpus and the exact lower bound of any next-token predictor's loss on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64

from netassay.errors import ConfigError
from netassay.formats.documents import Documents
from netassay.studies.capacity.distributions import Distributions, distributions, window_starts
from netassay.studies.capacity.prefixes import Level, levels
from netassay.studies.capacity.telescope import closing_nats, require_telescoped


@dataclass(frozen=True, eq=False)
class Contexts:
    """Unique contexts of a corpus: the proper prefixes of its documents (Madden, Fox, Thrampoulidis 2025, sec. 2).

    A document of t tokens has t contexts, the empty one first; p^(g | context) divides by the documents that go
    on after the context, so documents may differ in length. `by_length` arrays (T,) are indexed by the length
    of the context, 0 being the empty one: `contexts_by_length` unique contexts, `predictions_by_length`
    documents that go on, `certain_by_length` contexts with one continuation, `branches_by_length` distinct next
    tokens less one, summed, `nats_by_length` the part of the bound. With a `window` L contexts are the last L
    tokens, shorter ones only where a document begins.

    `documents` counts those used, `empty` of them without a token, `shortened` of them cut to `length`;
    `dropped` those that an exact length left out. `tokens` and `vocabulary` (distinct tokens) are those of the
    documents as used.
    """

    documents: int
    empty: int
    shortened: int
    dropped: int
    tokens: int
    vocabulary: int
    length: int | None
    window: int | None
    contexts_by_length: Int64[np.ndarray, " T"]
    predictions_by_length: Int64[np.ndarray, " T"]
    certain_by_length: Int64[np.ndarray, " T"]
    branches_by_length: Int64[np.ndarray, " T"]
    nats_by_length: Float64[np.ndarray, " T"]
    corpus: Documents = field(repr=False)

    @property
    def n(self) -> int:
        """Unique contexts, the empty one not counted."""
        return int(self.contexts_by_length[1:].sum())

    @property
    def n_with_empty(self) -> int:
        """Unique contexts with the empty one, which every corpus with a token has."""
        return int(self.contexts_by_length.sum())

    @property
    def bound_nats(self) -> float:
        """Least summed cross-entropy of any predictor, in nats, first tokens not predicted."""
        return math.fsum(self.nats_by_length[1:])

    @property
    def bound_nats_with_empty(self) -> float:
        """Least summed cross-entropy of any predictor, in nats, first tokens predicted from the empty context."""
        return math.fsum(self.nats_by_length)

    @property
    def predictions(self) -> int:
        """Tokens predicted from a context that is not empty."""
        return int(self.predictions_by_length[1:].sum())

    @property
    def degrees_of_freedom(self) -> int:
        """Distinct next tokens less one, summed over the contexts, the empty one left out."""
        return int(self.branches_by_length[1:].sum())

    @property
    def degrees_of_freedom_with_empty(self) -> int:
        """Distinct next tokens less one, summed over the contexts."""
        return int(self.branches_by_length.sum())

    @property
    def share_certain(self) -> float:
        """Share of the contexts, the empty one left out, that have a single continuation; nan without any."""
        return int(self.certain_by_length[1:].sum()) / self.n if self.n else math.nan

    @property
    def bound_bits_per_token(self) -> float:
        """Least mean cross-entropy of a predicted token in bits, first tokens not predicted; nan without any."""
        return self.bound_nats / math.log(2) / self.predictions if self.predictions else math.nan

    @property
    def bound_bits_per_token_with_empty(self) -> float:
        """Least mean cross-entropy of a token in bits, first tokens predicted too; nan without any."""
        return self.bound_nats_with_empty / math.log(2) / self.tokens if self.tokens else math.nan

    def distributions(self, *, empty: bool = False) -> Distributions:
        """The contexts with their next tokens and counts, ordered by length; with the empty one if asked."""
        ids, vocabulary, _ = named(self.corpus.tokens)
        return distributions(self.corpus, ids, vocabulary, window=self.window, empty=empty)


def contexts(
    documents: Documents | Iterable[Sequence[int]],
    *,
    length: int | None = None,
    exact_length: bool = False,
    window: int | None = None,
) -> Contexts:
    """Unique contexts, their next-token counts and the entropy lower bound of a corpus of integer sequences.

    `length` cuts every document to its first tokens; with `exact_length` shorter ones are left out and counted.
    `window` takes the last tokens for the context instead of all of them (the n-gram bound). Time is a sort a
    length of the documents that still share their prefix. Every result is held against the telescoped bound,
    N ln N - sum over distinct documents of c ln c. Raises DataError for documents that are not integer
    sequences and ConfigError for a length or window below 1.
    """
    for name, given in (("length", length), ("window", window)):
        if given is not None and given < 1:
            raise ConfigError(f"{name} is {given}; it counts tokens and is at least 1")
    if exact_length and length is None:
        raise ConfigError("exact_length needs a length: the number of tokens that every document must have")
    corpus = Documents.of(documents)
    lengths = corpus.lengths
    longer = 0 if length is None else int((lengths > length).sum())
    dropped = int((lengths < (length or 0)).sum()) if exact_length else 0
    if dropped:
        corpus = corpus.select(lengths >= (length or 0))
    if length is not None:
        corpus = corpus.cut(length)
    ids, vocabulary, distinct = named(corpus.tokens)
    tally = (
        _prefixes(corpus, ids, vocabulary) if window is None else _windows(corpus, ids, vocabulary, window)
    )
    return Contexts(
        documents=len(corpus),
        empty=int((corpus.lengths == 0).sum()),
        shortened=longer,
        dropped=dropped,
        tokens=len(corpus.tokens),
        vocabulary=distinct,
        length=length,
        window=window,
        contexts_by_length=tally.contexts,
        predictions_by_length=tally.predictions,
        certain_by_length=tally.certain,
        branches_by_length=tally.branches,
        nats_by_length=tally.nats,
        corpus=corpus,
    )


def named(tokens: Int[np.ndarray, " t"]) -> tuple[Int[np.ndarray, " t"], int, int]:
    """Tokens named 0..vocabulary - 1 (as they are, where that is dense enough), vocabulary, distinct tokens."""
    if not len(tokens):
        return tokens, 0, 0
    # read as unsigned, a negative token is larger than any that is dense
    largest = int(tokens.view(tokens.dtype.str.replace("i", "u")).max())
    if largest < max(4 * len(tokens), 1 << 16):
        seen = np.zeros(largest + 1, bool)
        seen[tokens] = True
        return tokens, largest + 1, int(seen.sum())
    distinct, ids = np.unique(tokens, return_inverse=True)
    return ids, len(distinct), len(distinct)


class _Tally(NamedTuple):
    """Per length of context (T,): contexts, predictions, certain contexts, branches, nats."""

    contexts: np.ndarray
    predictions: np.ndarray
    certain: np.ndarray
    branches: np.ndarray
    nats: np.ndarray


def _prefixes(corpus: Documents, ids: np.ndarray, vocabulary: int) -> _Tally:
    starts, lengths = corpus.offsets[:-1], corpus.lengths
    tally, closing = _tally(levels(ids, starts, lengths, vocabulary), lengths)
    require_telescoped(ids, lengths, math.fsum([*tally.nats, closing]))
    return tally


def _windows(corpus: Documents, ids: np.ndarray, vocabulary: int, window: int) -> _Tally:
    """Contexts shorter than the window at the beginnings of documents, then those of `window` tokens."""
    lengths = np.minimum(corpus.lengths, window)
    short, _ = _tally(levels(ids, corpus.offsets[:-1], lengths, vocabulary), lengths)
    grams = window_starts(corpus, window)
    sizes = np.full(len(grams), window + 1)
    full, _ = _tally(levels(ids, grams, sizes, vocabulary), sizes)
    return _Tally(*(np.concatenate([a, b[window:]]) for a, b in zip(short, full, strict=True)))


def _tally(found: Iterable[Level], lengths: Int64[np.ndarray, " N"]) -> tuple[_Tally, float]:
    """What the levels of sequences of these lengths add up to, and what their ends would add to the bound."""
    longest = int(lengths.max(initial=0))
    shared, certain, branches, predicted = np.zeros((4, longest), np.int64)
    nats, closing = np.zeros(longest), []
    alone = np.zeros(longest + 1, np.int64)
    for level in found:
        if level.closed is not None:
            closing.append(closing_nats(level.closed))
        if not len(level.counts):
            continue
        t, widths, left = level.length, level.widths, level.alone
        span = slice(t, t + 1 + level.more)
        shared[span], predicted[span] = len(widths), len(level.members)
        certain[span] = np.count_nonzero(widths == 1)
        branches[t] = len(level.counts) - len(widths)
        nats[t] = _entropy_nats(level)
        # a sequence alone from length t + 1 on has one context at each length short of its own
        alone[t + 1] += len(left)
        np.subtract.at(alone, lengths[left], 1)
    own = np.cumsum(alone)[:-1]
    assert predicted.sum() + own.sum() == lengths.sum(), "the contexts' counts do not add up to the tokens"
    return _Tally(shared + own, predicted + own, certain + own, branches, nats), math.fsum(closing)


def _entropy_nats(level: Level) -> float:
    """Sum over contexts and next tokens of c ln(total / c), every term positive so that nothing cancels."""
    widths = level.widths
    split = widths > 1
    if not split.any():
        return 0.0
    counts = level.counts[split.repeat(widths)]
    total = level.totals[split].repeat(widths[split])
    once = counts == 1
    several, whole = counts[~once], total[~once]
    # ln(total / c) as log1p keeps its digits where c is nearly the total
    return float(np.log(total[once]).sum() + (several * np.log1p((whole - several) / several)).sum())
