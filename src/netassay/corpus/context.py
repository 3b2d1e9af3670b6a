"""The unique contexts of a corpus and the exact lower bound of any next-token predictor's loss on it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from netassay.corpus.conditional import Backwards
from netassay.corpus.counting import (
    AT_ONCE,
    IDS_AT_ONCE,
    SMALL_IDS,
    counting_bytes,
    distinct,
    joined,
    prefix_totals,
    window_totals,
)
from netassay.corpus.distribution import Distributions, distributions
from netassay.corpus.parting import Division, Sums, count_parts
from netassay.corpus.tallies import Tally, dense_ids
from netassay.errors import ConfigError, DataError
from netassay.formats.documents import Documents, in_one_vocabulary
from netassay.formats.text import LONGEST

BITS_PER_PARAMETER = 3.6
"""Morris et al. (2025, arXiv 2505.24832): what GPT-style decoders were measured to hold; 3.83 in float32."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """Unique contexts of a corpus: the proper prefixes of its documents.

    A document of t tokens has t contexts, the empty one first; p^(g | context) divides by the documents that continue
    after the context, so documents may differ in length. Arrays (T,) are indexed by the length of the context, 0 being
    the empty one. With a `window` L contexts are the last L tokens, shorter ones only where a document begins.

    Attributes:
        documents: Documents used.
        empty: Documents without a token, among those used.
        shortened: Documents cut to `length`, among those used.
        dropped: Documents that an exact length left out.
        tokens: Tokens of the documents as used.
        vocabulary: Distinct tokens.
        length: Maximum number of tokens of a document.
        window: Maximum length of a context.
        contexts_by_length: (T,) unique contexts.
        predictions_by_length: (T,) documents that continue.
        certain_by_length: (T,) contexts with one continuation.
        branches_by_length: (T,) distinct next tokens less one, summed.
        unequal_by_length: (T,) distinct counts of next tokens less one, summed.
        widest_by_length: (T,) maximum number of distinct next tokens after one context.
        nats_by_length: (T,) contribution to the bound.
        sequences: The documents, if they were counted in memory and are asked for.
        skipped: Documents that reading left out, by reason.
        on_disk: Whether documents were written to disk to count them.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> corpus = netassay.contexts([[0, 1, 2], [0, 2, 1]])
        >>> corpus.contexts_by_length.tolist(), corpus.tokens
        ([1, 1, 2], 6)
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
    unequal_by_length: Int64[np.ndarray, " T"]
    widest_by_length: Int64[np.ndarray, " T"]
    nats_by_length: Float64[np.ndarray, " T"]
    sequences: Documents | None = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)
    on_disk: bool = False

    def plot(self) -> Any:
        """The least loss by length of context, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def corpus(self) -> Documents:
        """The documents as used; DataError for contexts that were counted on disk, which keeps numbers only."""
        if self.sequences is None:
            raise DataError(
                "these contexts were counted on disk or without their documents, which are not held; take a part of "
                "the corpus that fits into memory, or give more memory"
            )
        return self.sequences

    @property
    def n(self) -> int:
        """Unique contexts without the empty one."""
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
    def degrees_of_freedom_unequal(self) -> int:
        """Distinct counts of next tokens less one, summed over the contexts, the empty one left out.

        The degrees of freedom that remain if next tokens that are equally frequent after a context stay so.
        """
        return int(self.unequal_by_length[1:].sum())

    @property
    def largest_support(self) -> int:
        """The most distinct next tokens that one context has, the empty one left out; 0 without any."""
        return int(self.widest_by_length[1:].max(initial=0))

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

    @property
    def information_bits(self) -> float:
        """Information of the corpus about its tokens, in bits: predictions ln zeta - bound, over ln 2.

        First tokens, which no context predicts, are left out.
        """
        if self.vocabulary < 2:
            return 0.0
        return (self.predictions * math.log(self.vocabulary) - self.bound_nats) / math.log(2)

    def predicted_parameters(self, *, bits_per_parameter: float = BITS_PER_PARAMETER) -> float:
        """Parameters with which training is expected to begin to memorise the corpus: `information_bits` over a rate.

        Empirical, not a bound in either direction (Morris et al. 2025). ConfigError for a rate that is not above 0.
        """
        if not bits_per_parameter > 0:
            raise ConfigError(f"bits_per_parameter is {bits_per_parameter}; it is above 0")
        return self.information_bits / bits_per_parameter

    def distributions(self, *, empty: bool = False) -> Distributions:
        """The contexts with their next tokens and counts, ordered by length; with the empty one if asked.

        Raises DataError for contexts that were counted on disk.
        """
        ids, vocabulary = dense_ids(self.corpus.tokens)
        return distributions(self.corpus, ids, vocabulary, window=self.window, empty=empty)


def contexts(
    documents: Documents | Iterable[Sequence[int]],
    *,
    length: int | None = None,
    exact_length: bool = False,
    window: int | None = None,
) -> Contexts:
    """Unique contexts, their next-token counts and the entropy lower bound of a corpus of integer sequences.

    Time is a sort for each length of the documents that still share their prefix. Every result is checked against the
    telescoped bound, N ln N - sum over distinct documents of c ln c.

    Args:
        documents: Integer sequences.
        length: Cut every document to its first tokens (1 or more).
        exact_length: Leave out, and count, documents shorter than `length`.
        window: Contexts are the last `window` tokens (1 or more) instead of all the tokens before (the n-gram bound).

    Returns:
        The contexts.

    Raises:
        ConfigError: For a length or window below 1.
        DataError: For documents that are not integer sequences.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> corpus = netassay.contexts([[0, 1, 2], [0, 2, 1], [0, 1, 1]])
        >>> corpus.n, round(corpus.bound_nats, 3)
        (3, 3.296)
    """
    require_sizes(length, exact_length, window)
    ready, shortened, dropped = fit_length(Documents.of(documents), length, exact_length)
    # so that ids do not depend on how far beyond the length a corpus was read
    corpus = ready.renumbered()
    ids, vocabulary = dense_ids(corpus.tokens)
    numbers = {
        "documents": len(corpus),
        "empty": int((corpus.lengths == 0).sum()),
        "shortened": shortened,
        "dropped": dropped,
        "tokens": len(corpus.tokens),
        "vocabulary": distinct(ids, vocabulary),
    }
    return counted_contexts(corpus, numbers, length=length, window=window)


LEAST_ROOM = 1 << 26
SAMPLE = 1 << 28
"""Counting a corpus that takes no more is not worth dividing it, and first tokens of a larger one are like these."""


def contexts_within(
    parts: Iterable[Documents],
    *,
    memory: int,
    length: int | None = None,
    exact_length: bool = False,
    window: int | None = None,
    folder: Path | None = None,
    hold: bool = True,
) -> Contexts:
    """What `contexts` gives for the documents of all parts, within a given memory.

    A corpus that needs more is divided into parts, which are written to a temporary folder where they take too much,
    1 to 8 bytes for each token used, and counted one by one; the result then holds the numbers without the documents.

    Args:
        parts: Documents in parts, best small ones, in one vocabulary, as `read_in_parts` gives them.
        memory: Bytes (64 MiB or more) in addition to those already in use.
        length: Cut every document to its first tokens (1 or more).
        exact_length: Leave out, and count, documents shorter than `length`.
        window: Contexts are the last `window` tokens (1 or more).
        folder: Where to make the temporary folder; by default the system's.
        hold: Whether the result is to hold the documents if they fit; without them, counting takes less memory.

    Returns:
        The contexts.

    Raises:
        ConfigError: For a memory below 64 MiB.
        DataError: Where a single document needs more memory.
        StoreError: Where the disk is full.

    Source:
        Madden, Fox, Thrampoulidis (2024), section 2.

    Example:
        >>> import netassay
        >>> parts = netassay.read_in_parts("stories.txt")
        >>> netassay.contexts_within(parts, memory=1 << 28).documents
        3
    """
    require_sizes(length, exact_length, window)
    if memory < LEAST_ROOM:
        raise ConfigError(f"memory is {memory:,} bytes; counting needs at least {LEAST_ROOM:,} (64 MiB)")
    census = Census(memory, length, exact_length)
    arriving = map(census.take, in_one_vocabulary(parts))
    pieces, size = [], 0
    room_of_sample = memory if hold or window is not None else min(memory, SAMPLE)
    for part in arriving:
        pieces.append(part)
        size += census.bytes_for(len(part) if window is None else len(part.tokens), len(part.tokens))
        if size > room_of_sample:
            break
    else:
        corpus = Documents.concatenate(pieces)
        pieces.clear()
        return counted_contexts(corpus.renumbered(), census.counts(), length=length, window=window)
    if window is not None:
        return _windows(chain(pieces, arriving), census, memory, length, window, folder)
    with tempfile.TemporaryDirectory(prefix="netassay-", dir=folder) as room:
        division = Division(pieces, Path(room), memory)
        for part in joined(chain(_emptied(pieces), arriving), AT_ONCE):
            division.append(part)
        sums = Sums(census.longest)
        sums.context(0, division.counts())
        divided = division.parts()
        on_disk = count_parts(divided, sums, memory - division.waiting, census.small, Path(room)) or division.on_disk
    numbers = census.counts()
    totals = sums.totals(division.documents, numbers["tokens"])
    return summed_contexts(totals, numbers, length=length, on_disk=on_disk)


def _emptied(pieces: list[Documents]) -> Iterator[Documents]:
    """The documents of a list, each of which is removed from it when it is taken."""
    while pieces:
        yield pieces.pop(0)


def _windows(
    parts: Iterable[Documents],
    census: Census,
    memory: int,
    length: int | None,
    window: int,
    folder: Path | None,
) -> Contexts:
    """Contexts of a window on disk: the shorter ones where documents begin, and those of `window` tokens."""
    with Backwards(folder, memory) as corpus:

        def beginnings() -> Iterator[Documents]:
            for part in parts:
                corpus.append(part)
                yield part.beginnings(window)

        short = contexts_within(beginnings(), memory=memory, folder=folder)
        full = corpus.rows([window], shortest=window)[0] if census.longest > window else None
    names = ("contexts", "predictions", "certain", "branches", "unequal", "widest", "nats")
    numbers: dict[str, Any] = {
        f"{name}_by_length": np.append(getattr(short, f"{name}_by_length"), getattr(full, name))
        for name in names
        if full is not None
    }
    return replace(short, length=length, window=window, sequences=None, on_disk=True, **census.counts(), **numbers)


def counted_contexts(
    corpus: Documents, numbers: Mapping[str, Any], *, length: int | None, window: int | None
) -> Contexts:
    """The contexts of documents as used, whose own numbers are stated."""
    ids, vocabulary = dense_ids(corpus.tokens)
    count = prefix_totals if window is None else partial(window_totals, window=window)
    return Contexts(
        **numbers, length=length, window=window, sequences=corpus, **by_length(count(corpus, ids, vocabulary))
    )


def summed_contexts(totals: Tally, numbers: Mapping[str, Any], *, length: int | None, on_disk: bool = True) -> Contexts:
    """The contexts of parts that were counted one by one."""
    return Contexts(**numbers, length=length, window=None, sequences=None, on_disk=on_disk, **by_length(totals))


def by_length(totals: Tally) -> dict[str, Any]:
    """Totals under the names that `Contexts` has for them."""
    names = ("contexts", "predictions", "certain", "branches", "unequal", "widest", "nats")
    return {f"{name}_by_length": row for name, row in zip(names, (*totals.numbers, totals.nats), strict=True)}


def require_sizes(length: int | None, exact_length: bool, window: int | None) -> None:
    """Raises ConfigError for a length or window that counts no tokens, and for an exact length without a length."""
    for name, value in (("length", length), ("window", window)):
        if value is not None and not 1 <= value <= LONGEST:
            raise ConfigError(f"{name} is {value:,}; it counts tokens: 1 to {LONGEST:,}")
    if exact_length and length is None:
        raise ConfigError("exact_length needs a length: the number of tokens that every document must have")


def fit_length(corpus: Documents, length: int | None, exact: bool) -> tuple[Documents, int, int]:
    """The documents cut to `length`, how many were cut, and how many were left out as too short for an exact one."""
    if length is None:
        return corpus, 0, 0
    lengths = corpus.lengths
    short = int((lengths < length).sum()) if exact else 0
    documents = corpus.select(lengths >= length) if short else corpus
    return documents.beginnings(length), int((lengths > length).sum()), short


DENSE_IDS = 1 << 26


class Census:
    """Takes stock of a corpus as it is read: its size and its tokens."""

    def __init__(self, memory: int, length: int | None, exact: bool) -> None:
        self._memory, self._length, self._exact = memory, length, exact
        self._counts = dict.fromkeys(("documents", "empty", "shortened", "dropped", "tokens"), 0)
        self._ids = np.zeros(SMALL_IDS, bool)
        self._large_ids = np.empty(0, np.int64)
        self.longest = 0
        self.small = True

    def take(self, part: Documents) -> Documents:
        """The part's documents that have tokens, cut to length."""
        ready, shortened, dropped = fit_length(part, self._length, self._exact)
        filled = ready.lengths > 0
        new = (len(ready), int((~filled).sum()), shortened, dropped, len(ready.tokens))
        for name, number in zip(self._counts, new, strict=True):
            self._counts[name] += number
        if len(ready.tokens):
            self._note_ids(ready.tokens)
            self._require_room(ready)
        return ready.select(filled)

    def counts(self) -> dict[str, Any]:
        """Documents, empty, shortened, dropped, tokens and vocabulary, as `Contexts` has them."""
        outside = self._large_ids[(self._large_ids < 0) | (self._large_ids >= len(self._ids))]
        again = self._large_ids[(self._large_ids >= 0) & (self._large_ids < len(self._ids))]
        new = int((~self._ids[again]).sum())
        return {**self._counts, "vocabulary": int(self._ids.sum()) + new + len(outside)}

    def distinct(self) -> Int64[np.ndarray, " v"]:
        """The distinct tokens in ascending order."""
        return np.union1d(np.flatnonzero(self._ids), self._large_ids)

    def bytes_for(self, documents: int, tokens: int) -> int:
        """Maximum memory that counting this many documents with this many tokens takes."""
        return counting_bytes(documents, tokens, self.small)

    def _note_ids(self, tokens: np.ndarray) -> None:
        smallest, largest = int(tokens.min()), int(tokens.max())
        self.small = self.small and smallest >= 0 and largest < SMALL_IDS
        if smallest < 0 or largest >= DENSE_IDS:
            self._large_ids = np.union1d(self._large_ids, tokens.astype(np.int64, copy=False))
            if 4 * self._large_ids.nbytes > self._memory:
                raise DataError(
                    f"the corpus has more than {len(self._large_ids):,} different tokens, which take too much of the "
                    f"memory of {self._memory:,} bytes by themselves; give more"
                )
            return
        if largest >= len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros(2 * largest - len(self._ids), bool)])
        # most tokens of a large corpus have occurred before
        if not self._ids[smallest : largest + 1].all():
            for first in range(0, len(tokens), IDS_AT_ONCE):
                self._ids[tokens[first : first + IDS_AT_ONCE].astype(np.intp)] = True

    def _require_room(self, part: Documents) -> None:
        lengths = part.lengths
        self.longest = max(self.longest, int(lengths.max()))
        need = self.bytes_for(1, self.longest)
        if need > self._memory:
            number = self._counts["documents"] - len(part) + int(lengths.argmax())
            raise DataError(
                f"document {number} (from 0) has {self.longest:,} tokens, which take up to {need:,} bytes to count, "
                f"more than the memory of {self._memory:,}; give more, or cut documents to a length"
            )
