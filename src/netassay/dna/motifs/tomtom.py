"""The best alignment of two motifs and its p-value: Tomtom (Gupta et al. 2007), complete scores (Tanaka et al. 2011).

A column of the query scores its Pearson correlation with the column of the target that it is aligned with, less the
median of its correlations with all columns of the null, so that a column without a partner scores zero. Scores are
rounded to `BINS` steps of their range. Under the null each column of the query meets a column drawn at random: sums of
independent columns, by convolution. The p-value allows for the number of offsets and strands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

BINS = 100
"""Steps between the lowest and the greatest score of a query's columns, as in MEME's Tomtom."""

_MARKS = 4001  # correlations are rounded to 1/2000, far less than a step

Columns = Float64[np.ndarray, "4 width"]
Order = Sequence[int]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Alignments:
    """The best placement of every target upon one query: p, the column of the query where the target (turned where
    `reverse`) begins, and columns and mean correlation where both overlap."""

    p: Float64[np.ndarray, " targets"]
    offset: Int64[np.ndarray, " targets"]
    reverse: Bool[np.ndarray, " targets"]
    overlap: Int64[np.ndarray, " targets"]
    similarity: Float64[np.ndarray, " targets"]


def alignments(
    queries: Sequence[Columns],
    targets: Sequence[Columns],
    more: Sequence[Columns] = (),
    *,
    min_columns: int,
    threads: int = 1,
) -> Iterator[Alignments]:
    """The best placement of all targets upon each query, over `min_columns` columns or more.

    The null draws columns of the targets and of `more` matrices, or their complements.
    """
    columns = _Targets(targets, more, min_columns)
    return _map(lambda i: columns.alignments(_Query(queries[i], columns)), len(queries), threads)


def permuted_p_values(
    queries: Sequence[Columns],
    orders: Sequence[Sequence[Order]],
    targets: Sequence[Columns],
    more: Sequence[Columns] = (),
    *,
    min_columns: int,
    threads: int = 1,
) -> Iterator[Float64[np.ndarray, "orders targets"]]:
    """p of the best placements upon each query with its columns in each of its `orders`, as `alignments` has them."""
    columns = _Targets(targets, more, min_columns)
    return _map(lambda i: columns.p_values(_Query(queries[i], columns), orders[i]), len(queries), threads)


def _map(make: Callable[[int], T], count: int, threads: int) -> Iterator[T]:
    if threads == 1 or count < 2:
        yield from map(make, range(count))
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(make, range(count))


@dataclass(frozen=True, eq=False)
class _Group:
    """Targets of one length: their rows, and the slice of their columns, first all as they are, then all turned."""

    rows: Int64[np.ndarray, " n"]
    length: int
    columns: slice


class _Targets:
    """Standardised columns of all targets, those of one length side by side, and behind them the rest of the null."""

    def __init__(self, targets: Sequence[Columns], more: Sequence[Columns], min_columns: int) -> None:
        lengths = np.array([matrix.shape[1] for matrix in targets])
        self.groups, blocks, start = [], [], 0
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length).astype(np.int64)
            own = [targets[i] for i in rows.tolist()]
            blocks += own + [matrix[::-1, ::-1] for matrix in own]
            stop = start + 2 * len(rows) * length
            self.groups.append(_Group(rows, length, slice(start, stop)))
            start = stop
        blocks += [turned for matrix in more for turned in (matrix, matrix[::-1])]
        self.columns = _standardise(np.concatenate(blocks, axis=1)).astype(np.float32)
        self.size, self.own, self.min_columns = len(targets), start, min_columns

    def alignments(self, query: _Query) -> Alignments:
        placements = Alignments(
            np.ones(self.size),
            np.zeros(self.size, np.int64),
            np.zeros(self.size, bool),
            np.zeros(self.size, np.int64),
            np.zeros(self.size),
        )
        sums = _Sums(query.laws, query.low)
        for group in self.groups:
            self._place_group(placements, group, query, sums)
        return placements

    def p_values(self, query: _Query, orders: Sequence[Order]) -> Float64[np.ndarray, "orders targets"]:
        p = np.ones((len(orders), self.size))
        for row, order in zip(p, orders, strict=True):
            sums = _Sums([query.laws[i] for i in order], query.low)
            for group in self.groups:
                offsets = self._offsets(len(order), group.length)
                totals = _along_diagonals(query.scores, order, group)
                best = totals[:, _diagonals(offsets, len(order))].max(1).reshape(2, -1).max(0)
                row[group.rows] = sums.p_values(best, offsets, group.length)
        return p

    def _offsets(self, width: int, length: int) -> Int64[np.ndarray, " places"]:
        """Columns of the query where a target may begin, from the last."""
        fewest = min(self.min_columns, width, length)
        return np.arange(width - fewest, fewest - length - 1, -1)

    def _place_group(self, placements: Alignments, group: _Group, query: _Query, sums: _Sums) -> None:
        """Fills in the placements of a group of targets."""
        width, length, count = len(query.scores), group.length, len(group.rows)
        offsets = self._offsets(width, length)
        totals = _along_diagonals(query.scores, range(width), group)[:, _diagonals(offsets, width)]
        at = totals.argmax(1)
        top = totals[np.arange(2 * count), at]
        reverse = top[count:] > top[:count]
        rows = np.arange(count) + count * reverse
        offset = offsets[at[rows]]
        placements.p[group.rows] = sums.p_values(top[rows], offsets, length)
        placements.offset[group.rows], placements.reverse[group.rows] = offset, reverse
        overlap = np.minimum(offset + length, width) - np.maximum(offset, 0)
        placements.overlap[group.rows] = overlap
        # correlations of the best placement: column j of the target meets column offset + j of the query
        position = offset[:, None] + np.arange(length)
        column = group.columns.start + rows[:, None] * length + np.arange(length)
        inside = (position >= 0) & (position < width)
        met = np.where(inside, query.likeness[position.clip(0, width - 1), column], 0.0)
        placements.similarity[group.rows] = met.sum(1) / overlap


class _Query:
    """A query's correlations with all columns of the targets, its rounded scores, and their law by chance."""

    def __init__(self, columns: Columns, targets: _Targets) -> None:
        self.likeness = _standardise(columns).T.astype(np.float32) @ targets.columns
        width = len(self.likeness)
        rows = np.arange(width)[:, None] * _MARKS
        marks = np.rint((self.likeness + 1) * ((_MARKS - 1) / 2)).astype(np.int64).clip(0, _MARKS - 1) + rows
        counts = np.bincount(marks.ravel(), minlength=width * _MARKS).reshape(width, _MARKS)
        middle = (2 * counts.cumsum(1) >= marks.shape[1]).argmax(1)
        score = np.arange(_MARKS) - middle[:, None]
        met = counts > 0
        spread = int(np.ptp(score[met]))
        steps = np.rint(score * (BINS / spread if spread else 0.0)).astype(np.int32)
        self.scores = steps.ravel()[marks[:, : targets.own]]
        self.low = int(steps[met].min())
        size = int(steps[met].max()) - self.low + 1
        self.laws = [
            np.bincount(step[mask] - self.low, weights=count[mask], minlength=size) / marks.shape[1]
            for step, count, mask in zip(steps, counts, met, strict=True)
        ]


class _Sums:
    """Upper tails of sums of neighbouring columns of a query by chance, from the law of each column from `low` on."""

    def __init__(self, laws: Sequence[Float64[np.ndarray, " scores"]], low: int) -> None:
        self.laws, self.low = laws, low
        self.sums: dict[tuple[int, int], np.ndarray] = {}
        self.tails: dict[tuple[int, int], np.ndarray] = {}

    def p_values(
        self, top: Int32[np.ndarray, " n"], offsets: Int64[np.ndarray, " places"], length: int
    ) -> Float64[np.ndarray, " n"]:
        """Chance that the greatest score over all offsets of a target, on two strands, is at least `top`."""
        first, last = np.maximum(offsets, 0), np.minimum(offsets + length, len(self.laws))
        tails = [self._tail(*span) for span in zip(first.tolist(), last.tolist(), strict=True)]
        sizes = np.array([len(tail) for tail in tails])
        index = np.clip(top - ((last - first) * self.low)[:, None], 0, sizes[:, None] - 1)
        reached = np.concatenate(tails)[index + (np.cumsum(sizes) - sizes)[:, None]]
        return -np.expm1(2 * np.log1p(-reached).sum(0))

    def _tail(self, first: int, last: int) -> Float64[np.ndarray, " sums"]:
        """Chance that columns first ... last - 1 score at least (last - first) low + index; 0 at the end."""
        if (first, last) not in self.tails:
            tail = np.append(np.cumsum(self._law(first, last)[::-1])[::-1], 0.0)
            # a certain event must still have a logarithm
            self.tails[first, last] = np.minimum(tail, 1 - 1e-16)
        return self.tails[first, last]

    def _law(self, first: int, last: int) -> Float64[np.ndarray, " sums"]:
        if last == first + 1:
            return self.laws[first]
        if (first, last) not in self.sums:
            self.sums[first, last] = np.convolve(self._law(first, last - 1), self.laws[last - 1])
        return self.sums[first, last]


def _diagonals(offsets: Int64[np.ndarray, " places"], width: int) -> slice:
    """Slice of these offsets among those of `_along_diagonals`."""
    return slice(width - 1 - int(offsets[0]), width - int(offsets[-1]))


def _standardise(columns: Float64[np.ndarray, "4 n"]) -> Float64[np.ndarray, "4 n"]:
    """Columns less their mean, of norm 1; zeros where all bases have the same share: such a column matches nothing."""
    centred = columns - columns.mean(0)
    norm = np.linalg.norm(centred, axis=0)
    return centred / np.where(norm > 1e-9, norm, np.inf)


def _along_diagonals(
    scores: Int32[np.ndarray, "width columns"], order: Order, group: _Group
) -> Int32[np.ndarray, "n places"]:
    """Sums of the scores of each target at every offset, from the greatest (width - 1) down to 1 - length."""
    width, length = len(scores), group.length
    blocks = scores[:, group.columns].reshape(width, -1, length)
    total = np.zeros((blocks.shape[1], width + length - 1), scores.dtype)
    for position, row in enumerate(order):
        total[:, width - 1 - position : width - 1 - position + length] += blocks[row]
    return total
