"""Documents on disk separated by their first tokens, counted part by part, and the sums of the parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from netassay.corpus.census import counting_bytes
from netassay.corpus.context import Contexts
from netassay.corpus.prefixes import levels, run_edges
from netassay.corpus.tallies import Tally, counts_nats, dense_ids, tally
from netassay.corpus.telescope import RELATIVE_ROUNDING, closing_nats, require_telescoped, x_ln_x
from netassay.errors import DataError
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill

PARTING_BYTES = 256
"""Maximum memory of writing a corpus into parts, for each token or document at once."""

MOST_FILES = 128


@dataclass(frozen=True, eq=False)
class Part:
    """Documents that share `depth` tokens, which are not in the file; all such documents, if `complete`."""

    spill: Spill
    depth: int
    complete: bool


class Sums:
    """Sums of the tallies of parts, and the telescoped bound that they must equal."""

    def __init__(self, longest: int) -> None:
        numbers = np.zeros((6, longest), np.int64)
        self._tally = Tally(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], np.zeros(longest))
        self._closing: list[float] = []
        self._documents: list[float] = []

    def ends(self, ended: int, on: int) -> None:
        """Adds documents that end at one context, where others continue."""
        if ended:
            self._closing.append(closing_nats(np.array([[ended, on]])))
            self._documents.append(x_ln_x(ended))

    def context(self, depth: int, counts: Int64[np.ndarray, " g"], more: int = 0) -> None:
        """One context of `depth` tokens by how often each next token follows, and `more` after it alike."""
        if not len(counts):
            return
        span = slice(depth, depth + 1 + more)
        self._tally.contexts[span] += 1
        self._tally.predictions[span] += counts.sum()
        self._tally.certain[span] += len(counts) == 1
        self._tally.branches[depth] += len(counts) - 1
        self._tally.unequal[depth] += len(np.unique(counts)) - 1
        self._tally.widest[span] = np.maximum(self._tally.widest[span], len(counts))
        self._tally.nats[depth] += counts_nats(counts, np.full(len(counts), counts.sum()))

    def add(self, depth: int, part: Tally, closing: float, documents: float) -> None:
        """A part counted in memory, the shortest of its contexts of `depth` tokens."""
        span = slice(depth, depth + len(part.contexts))
        widest = np.maximum(self._tally.widest[span], part.widest)
        for total, new in zip(self._tally, part, strict=True):
            total[span] += new
        self._tally.widest[span] = widest
        self._closing.append(closing)
        self._documents.append(documents)

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums so far, as `add_arrays` takes them, without lengths that no context has."""
        longest = int(np.flatnonzero(self._tally.contexts).max(initial=-1)) + 1
        return {
            "numbers": np.stack(self._tally[:6])[:, :longest],
            "nats": self._tally.nats[:longest],
            "ends": np.array([math.fsum(self._closing), math.fsum(self._documents)]),
        }

    def add_arrays(self, sums: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Adds the sums of others, nats of a length without rounding in between."""
        nats: list[list[float]] = [[total] for total in self._tally.nats.tolist()]
        for other in sums:
            numbers = other["numbers"]
            span = slice(0, numbers.shape[1])
            widest = np.maximum(self._tally.widest[span], numbers[5])
            for total, new in zip(self._tally, numbers, strict=False):
                total[span] += new
            self._tally.widest[span] = widest
            for terms, new in zip(nats, other["nats"].tolist(), strict=False):
                terms.append(new)
            closing, documents = other["ends"].tolist()
            self._closing.append(closing)
            self._documents.append(documents)
        self._tally.nats[:] = [math.fsum(terms) for terms in nats]

    def finished(self, length: int | None, documents: int, counts: Mapping[str, Any]) -> Contexts:
        """The contexts of all parts, checked against the bound from comparing entire documents."""
        nats = math.fsum([*self._tally.nats, *self._closing])
        expected = x_ln_x(documents) - math.fsum(self._documents)
        assert abs(nats - expected) <= RELATIVE_ROUNDING * max(x_ln_x(documents), 1.0), (
            f"the parts add up to {nats!r} nats with the ends of documents, the documents to {expected!r}"
        )
        assert self._tally.predictions.sum() == counts["tokens"], "the parts do not add up to the tokens"
        return Contexts(
            **counts,
            length=length,
            window=None,
            contexts_by_length=self._tally.contexts,
            predictions_by_length=self._tally.predictions,
            certain_by_length=self._tally.certain,
            branches_by_length=self._tally.branches,
            unequal_by_length=self._tally.unequal,
            widest_by_length=self._tally.widest,
            nats_by_length=self._tally.nats,
            held=None,
        )


def count_parts(parts: Sequence[Part], sums: Sums, memory: int, small: bool, folder: Path) -> None:
    """Counts parts within a given memory, splitting those that need more; removes their files.

    `small`: whether all token ids are. `folder`: an empty one for the files of what is split.
    """
    names = map(str, count())
    pending = [*parts]
    while pending:
        current = pending.pop()
        if counting_bytes(current.spill.documents, current.spill.tokens, small) <= memory:
            corpus = Documents.concatenate(current.spill.parts(current.spill.tokens + current.spill.documents))
            count_documents(corpus, current.depth, current.complete, sums)
        else:
            pending += _split(current, sums, small, memory, folder, names)
        current.spill.remove()


def count_documents(corpus: Documents, depth: int, complete: bool, sums: Sums) -> None:
    """Counts documents in memory that share `depth` tokens, which they are given without."""
    ids, vocabulary, _ = dense_ids(corpus.tokens)
    starts, lengths = corpus.offsets[:-1], corpus.lengths
    totals, closing = tally(levels(ids, starts, lengths, vocabulary), lengths)
    documents = require_telescoped(ids, lengths, math.fsum([*totals.nats, closing]))
    if complete:
        on = int(np.count_nonzero(lengths))
        sums.ends(len(lengths) - on, on)
    else:
        # their shared context has been counted where all its documents were
        for array in totals:
            array[:1] = 0
    sums.add(depth, totals, closing, documents)


def _split(part: Part, sums: Sums, small: bool, memory: int, folder: Path, names: Iterator[str]) -> list[Part]:
    """Parts of a part by next token, after counting the context that its documents share."""
    at_once = memory // PARTING_BYTES
    next_tokens, documents, sizes = continuations(part.spill, at_once, memory)
    ended = part.spill.documents - int(documents.sum())
    shared = 1
    if part.complete:
        if len(next_tokens) == 1 and not ended:
            shared = _agreeing(part.spill, at_once)
        sums.ends(ended, part.spill.documents - ended)
        sums.context(part.depth, documents, more=shared - 1)
    needs = counting_bytes(documents, sizes, small)
    limit = max(memory, 4 * int(needs.sum()) // MOST_FILES)
    large = needs > limit // 2
    # a file for each large one; the others together, up to `most` a file
    files = np.where(large, -1 - np.arange(len(needs)), np.cumsum(np.where(large, 0, needs)) // (limit // 2))
    distinct, files = np.unique(files, return_inverse=True)
    alone = distinct < 0
    spills = [Spill(folder / next(names)) for _ in distinct]
    for block in part.spill.parts(at_once):
        going = block.select(block.lengths > 0)
        if not len(going):
            continue
        heads = going.tokens[going.offsets[:-1]]
        _write(going, files[np.searchsorted(next_tokens, heads)], shared * alone, spills)
    return [
        Part(spill, part.depth + shared, True) if single else Part(spill, part.depth, False)
        for spill, single in zip(spills, alone, strict=True)
    ]


def _write(documents: Documents, files: np.ndarray, dropped: np.ndarray, spills: list[Spill]) -> None:
    """Writes each document into its file, without the first tokens that are dropped there."""
    order = np.argsort(files, kind="stable")
    files = files[order]
    off = dropped[files]
    sorted_ = documents.gathered(documents.offsets[:-1][order] + off, documents.lengths[order] - off)
    edges = run_edges(files)
    for first, last in pairwise(edges.tolist()):
        spills[files[first]].append(sorted_.between(first, last))


def continuations(
    spill: Spill, at_once: int, memory: int
) -> tuple[np.ndarray, Int64[np.ndarray, " g"], Int64[np.ndarray, " g"]]:
    """The distinct first tokens of documents, how many documents have each, and the tokens of those."""
    tokens, documents, sizes = np.empty((3, 0), np.int64)
    for block in spill.parts(at_once):
        lengths = block.lengths
        filled = lengths > 0
        heads = block.tokens[block.offsets[:-1][filled]].astype(np.int64)
        tokens, where = np.unique(np.concatenate([tokens, heads]), return_inverse=True)
        once = np.ones(len(heads), np.int64)
        documents = _summed(where, np.concatenate([documents, once]), len(tokens))
        sizes = _summed(where, np.concatenate([sizes, lengths[filled]]), len(tokens))
        if len(tokens) * PARTING_BYTES > 2 * memory:
            raise DataError(
                f"documents continue with {len(tokens):,} different tokens after one context, too many for the memory "
                f"of {memory:,} bytes; give more"
            )
    return tokens, documents, sizes


def _summed(where: np.ndarray, values: np.ndarray, size: int) -> Int64[np.ndarray, " size"]:
    # sums of whole numbers below 2^53, which doubles hold exactly
    return np.bincount(where, weights=values, minlength=size).astype(np.int64)


def _agreeing(spill: Spill, at_once: int) -> int:
    """Number of first tokens that all documents share; no document is empty."""
    example: np.ndarray | None = None
    for block in spill.parts(at_once):
        if example is None:
            example = block[0].copy()
        shortest = int(block.lengths.min())
        example = example[:shortest]
        # a token at a time over all documents: they are many and what they share is mostly short
        for t, token in enumerate(example):
            if (block.tokens[block.offsets[:-1] + t] != token).any():
                example = example[:t]
                break
    assert example is not None
    return len(example)
