"""The best alignment of two motifs and its p-value: Tomtom (Gupta et al. 2007) with complete scores (Tanaka et al. 2011).

A column of the query scores its Pearson correlation with the column of the target that it is laid upon, less the median
of its correlations with all columns of the null, so that a column laid upon nothing scores nought. Scores are rounded to
`BINS` steps of their range, and by chance each column of the query meets a column drawn from the null: sums of
independent columns, by convolution. The best of all offsets is to be expected among so many, on either strand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

BINS = 100
"""Steps between the lowest and the greatest score of a query's columns, as in MEME's Tomtom."""

_MARKS = 4001  # correlations are held to 1/2000: far less than a step

Columns = Float64[np.ndarray, "4 width"]


@dataclass(frozen=True, eq=False)
class Alignments:
    """The best placement of every target upon one query: p, the column of the query where the target (turned where
    `reverse`) begins, and columns and mean correlation where both overlap."""

    p: Float64[np.ndarray, " targets"]
    offset: Int64[np.ndarray, " targets"]
    reverse: np.ndarray
    overlap: Int64[np.ndarray, " targets"]
    similarity: Float64[np.ndarray, " targets"]


def alignments(
    queries: Sequence[Columns],
    targets: Sequence[Columns],
    null: Sequence[Columns] | None = None,
    *,
    least: int,
    threads: int = 1,
) -> Iterator[Alignments]:
    """The best placement of all targets upon each query, over `least` columns or more.

    By chance a column is one of the matrices of `null` (the targets if not given), or its complement.
    """
    held = _Targets(targets, targets if null is None else null)
    if threads == 1 or len(queries) == 1:
        yield from (held.best(query, least) for query in queries)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda query: held.best(query, least), queries)


@dataclass(frozen=True, eq=False)
class _Group:
    """Targets of one length: their rows, and where their columns stand, first all as they are, then all turned."""

    rows: Int64[np.ndarray, " n"]
    length: int
    columns: slice


class _Targets:
    """Standardised columns of all targets, those of one length side by side, and of the null."""

    def __init__(self, targets: Sequence[Columns], null: Sequence[Columns]) -> None:
        lengths = np.array([matrix.shape[1] for matrix in targets])
        self.groups, blocks, start = [], [], 0
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            both = [targets[i] for i in rows] + [targets[i][::-1, ::-1] for i in rows]
            blocks.append(_standardised(np.concatenate(both, axis=1)))
            stop = start + 2 * len(rows) * length
            self.groups.append(_Group(rows, length, slice(start, stop)))
            start = stop
        self.columns = np.concatenate(blocks, axis=1).astype(np.float32)
        self.size = len(targets)
        if null is targets:
            self.null = self.columns
        else:
            one = _standardised(np.concatenate(list(null), axis=1))
            self.null = np.concatenate([one, one[::-1]], axis=1).astype(np.float32)

    def best(self, query: Columns, least: int) -> Alignments:
        standard = _standardised(query).T.astype(np.float32)
        likeness = standard @ self.columns
        marks = _marks(likeness)
        counts = _counts(marks if self.null is self.columns else _marks(standard @ self.null))
        steps = _steps(counts, marks)
        sums = _Sums(counts, steps)
        scores = np.take_along_axis(steps, marks, axis=1)
        made = Alignments(
            np.ones(self.size), np.zeros(self.size, np.int64), np.zeros(self.size, bool),
            np.zeros(self.size, np.int64), np.zeros(self.size),
        )  # fmt: skip
        for group in self.groups:
            self._place(made, group, scores, likeness, sums, least)
        return made

    def _place(
        self,
        made: Alignments,
        group: _Group,
        scores: Int32[np.ndarray, "width columns"],
        likeness: Float32[np.ndarray, "width columns"],
        sums: _Sums,
        least: int,
    ) -> None:
        """Fills in the placements of a group of targets."""
        width, length, count = len(scores), group.length, len(group.rows)
        fewest = min(least, width, length)
        offsets = np.arange(width - fewest, fewest - length - 1, -1)
        total = _along_diagonals(scores[:, group.columns], length)[:, fewest - 1 : width + length - fewest]
        at = total.argmax(1)
        top = total[np.arange(2 * count), at]
        reverse = top[count:] > top[:count]
        chosen = np.arange(count) + count * reverse
        top, offset = top[chosen], offsets[at[chosen]]
        first, last = np.maximum(offsets, 0), np.minimum(offsets + length, width)
        made.p[group.rows] = sums.p_values(top, list(zip(first.tolist(), last.tolist(), strict=True)))
        made.offset[group.rows], made.reverse[group.rows] = offset, reverse
        overlap = np.minimum(offset + length, width) - np.maximum(offset, 0)
        made.overlap[group.rows] = overlap
        # correlations of the chosen placement: column j of the target lies upon column offset + j of the query
        place = offset[:, None] + np.arange(length)
        column = group.columns.start + chosen[:, None] * length + np.arange(length)
        inside = (place >= 0) & (place < width)
        met = np.where(inside, likeness[place.clip(0, width - 1), column], 0.0)
        made.similarity[group.rows] = met.sum(1) / overlap


class _Sums:
    """Upper tails of sums of neighbouring columns of a query by chance."""

    def __init__(self, counts: Int64[np.ndarray, "width marks"], steps: Int32[np.ndarray, "width marks"]) -> None:
        met = counts > 0
        self.low = int(steps[met].min())
        size = int(steps[met].max()) - self.low + 1
        self.laws = [
            np.bincount(step[some] - self.low, weights=count[some], minlength=size) / count.sum()
            for step, count, some in zip(steps, counts, met, strict=True)
        ]
        self.sums: dict[tuple[int, int], np.ndarray] = {}
        self.tails: dict[tuple[int, int], np.ndarray] = {}

    def p_values(
        self, top: Int32[np.ndarray, " n"], spans: Sequence[tuple[int, int]]
    ) -> Float64[np.ndarray, " n"]:
        """Chance that the greatest score over placements upon these columns of the query, on two strands, is `top`."""
        tails = [self._tail(first, last) for first, last in spans]
        sizes = np.array([len(tail) for tail in tails])
        lowest = np.array([(last - first) * self.low for first, last in spans])
        index = np.clip(top - lowest[:, None], 0, sizes[:, None] - 1) + (np.cumsum(sizes) - sizes)[:, None]
        return -np.expm1(2 * np.log1p(-np.concatenate(tails)[index]).sum(0))

    def _tail(self, first: int, last: int) -> Float64[np.ndarray, " sums"]:
        """Chance that columns first ... last - 1 score at least (last - first) low + index; 0 at the end."""
        if (first, last) not in self.tails:
            tail = np.append(np.cumsum(self._law(first, last)[::-1])[::-1], 0.0)
            # what is reached for certain must leave a logarithm
            self.tails[first, last] = np.minimum(tail, 1 - 1e-16)
        return self.tails[first, last]

    def _law(self, first: int, last: int) -> Float64[np.ndarray, " sums"]:
        if last == first + 1:
            return self.laws[first]
        if (first, last) not in self.sums:
            self.sums[first, last] = np.convolve(self._law(first, last - 1), self.laws[last - 1])
        return self.sums[first, last]


def _marks(likeness: Float32[np.ndarray, "width n"]) -> Int32[np.ndarray, "width n"]:
    """Correlations, -1 to 1, as the nearest of `_MARKS` marks."""
    return np.rint((likeness + 1) * ((_MARKS - 1) / 2)).astype(np.int32).clip(0, _MARKS - 1)


def _counts(marks: Int32[np.ndarray, "width n"]) -> Int64[np.ndarray, "width marks"]:
    """How often each mark is met in each row."""
    width = len(marks)
    rows = np.arange(width, dtype=np.int32)[:, None] * _MARKS
    return np.bincount((marks + rows).ravel(), minlength=width * _MARKS).reshape(width, _MARKS)


def _steps(
    counts: Int64[np.ndarray, "width marks"], marks: Int32[np.ndarray, "width n"]
) -> Int32[np.ndarray, "width marks"]:
    """The rounded score of every mark, `BINS` between the lowest and the greatest that is met."""
    halves = counts.cumsum(1) * 2 >= counts.sum(1, keepdims=True)
    score = np.arange(_MARKS) - halves.argmax(1)[:, None]  # above the median
    met = counts > 0
    np.put_along_axis(met, marks, True, axis=1)
    range_ = np.ptp(score[met])
    return np.rint(score * (BINS / range_ if range_ else 0.0)).astype(np.int32)


def _standardised(columns: Float64[np.ndarray, "4 n"]) -> Float64[np.ndarray, "4 n"]:
    """Columns less their mean, of norm 1; zeros where all bases have the same share: such a one is like nothing."""
    centred = columns - columns.mean(0)
    norm = np.linalg.norm(centred, axis=0)
    return centred / np.where(norm > 1e-9, norm, np.inf)


def _along_diagonals(scores: Int32[np.ndarray, "width columns"], length: int) -> Int64[np.ndarray, "n places"]:
    """Sums of the scores of each target at every offset, from the greatest (width - 1) down to 1 - length."""
    width = len(scores)
    held = scores.reshape(width, -1, length)
    total = np.zeros((held.shape[1], width + length - 1), scores.dtype)
    for column in range(width):
        total[:, width - 1 - column : width - 1 - column + length] += held[column]
    return total
