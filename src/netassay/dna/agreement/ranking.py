"""How well numbers rank marked peaks above the others: areas, their errors, and the areas of permuted marks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy import stats

from netassay.numerics import ranking

LEVEL = 0.95
"""Share of cases in which an interval should contain the true value."""

_LEAST = 2  # peaks of either kind, for a stratum to count


@dataclass(frozen=True, eq=False)
class Areas:
    """`auroc` of s scores and the covariance of their errors; NaN where all peaks are marked or none.

    The area is the chance that a marked peak scores above one that is not marked, a tie counting half.
    """

    auroc: Float64[np.ndarray, " s"]
    covariance: Float64[np.ndarray, "s s"]
    marked: int
    unmarked: int

    @property
    def error(self) -> Float64[np.ndarray, " s"]:
        """Standard errors."""
        return np.sqrt(np.diag(self.covariance))

    def difference(self, first: int, second: int) -> Difference:
        """Area of score `first` minus that of score `second`, on the same peaks (DeLong et al. 1988)."""
        value = float(self.auroc[first] - self.auroc[second])
        covariance = self.covariance
        variance = float(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second])
        error = math.sqrt(max(0.0, variance))
        p = float(2 * stats.norm.sf(abs(value) / error)) if error > 0 else math.nan
        return Difference(value, error, p)


@dataclass(frozen=True)
class Difference:
    """A difference of two areas, its standard error, and p of a true difference of zero (NaN if the error is 0)."""

    value: float
    error: float
    p: float


def areas(scores: Float[np.ndarray, "n s"], marked: Bool[np.ndarray, " n"]) -> Areas:
    """Areas under the ROC curve with their covariance.

    The share of the others that each marked peak beats is the difference of its ranks among all and among the marked.

    Args:
        scores: (n, s).
        marked: (n,) whether each peak is marked.

    Returns:
        (s,) areas and the (s, s) covariance of their errors; NaN where all peaks are marked or none.

    Source:
        DeLong, DeLong, Clarke-Pearson (1988), by ranks as Sun, Xu (2014).

    Example:
        >>> import numpy as np
        >>> from netassay.dna.agreement import areas
        >>> areas(np.array([[0.1], [0.4], [0.8]]), np.array([False, False, True])).auroc.tolist()
        [1.0]
    """
    positive, negative = scores[marked], scores[~marked]
    m, n = len(positive), len(negative)
    s = scores.shape[1]
    if not m or not n:
        return Areas(np.full(s, np.nan), np.full((s, s), np.nan), m, n)
    ranks = stats.rankdata(np.concatenate([positive, negative]), axis=0)
    beats = (ranks[:m] - stats.rankdata(positive, axis=0)) / n
    beaten = 1 - (ranks[m:] - stats.rankdata(negative, axis=0)) / m
    covariance = _covariance(beats) / m + _covariance(beaten) / n
    return Areas(beats.mean(axis=0), covariance, m, n)


def stratified(
    scores: Float[np.ndarray, "n s"], marked: Bool[np.ndarray, " n"], strata: Sequence[Bool[np.ndarray, " n"]]
) -> Areas:
    """Areas where a marked peak is compared only with others of its own stratum; strata must not overlap.

    The mean of the strata's areas, weighted by their number of pairs. What differs between strata, and not within
    them, has an area of one half. A stratum with fewer than two marked peaks or two others has no known error and is
    left out, of both counts too.
    """
    parts = [areas(scores[stratum], marked[stratum]) for stratum in strata]
    usable = [part for part in parts if min(part.marked, part.unmarked) >= _LEAST]
    total = sum(part.marked * part.unmarked for part in usable)
    if not total:
        return areas(scores, np.zeros(len(scores), bool))
    weights = [part.marked * part.unmarked / total for part in usable]
    return Areas(
        np.sum([w * part.auroc for w, part in zip(weights, usable, strict=True)], axis=0),
        np.sum([w**2 * part.covariance for w, part in zip(weights, usable, strict=True)], axis=0),
        sum(part.marked for part in usable),
        sum(part.unmarked for part in usable),
    )


def average_precision(scores: Float[np.ndarray, "n s"], marked: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " s"]:
    """Area under the precision-recall curve as a mean of precisions; a guess has the share of marked peaks."""
    if not marked.any() or marked.all():
        return np.full(scores.shape[1], np.nan)
    return np.array([ranking.average_precision(marked, column) for column in scores.T])


def permuted_areas(
    scores: Float[np.ndarray, "n s"],
    marked: Bool[np.ndarray, " n"],
    strata: Sequence[Bool[np.ndarray, " n"]],
    draws: torch.Generator,
    times: int,
) -> Float64[np.ndarray, "times s"]:
    """Stratified areas with the marks in a random order within each stratum: what is reached by chance.

    Args:
        scores: (n, s).
        marked: (n,) whether each peak is marked.
        strata: For each stratum, (n,) which peaks it has.
        draws: Draws the orders.
        times: Number of permutations (1 or more).

    Returns:
        (times, s) areas.

    Example:
        >>> import numpy as np, torch
        >>> from netassay.dna.agreement import permuted_areas
        >>> scores, marked = np.arange(40.0)[:, None], np.arange(40) % 2 == 0
        >>> permuted_areas(scores, marked, [np.ones(40, bool)], torch.Generator(), 5).shape
        (5, 1)
    """
    total = np.zeros((times, scores.shape[1]))
    pairs = 0
    for stratum in strata:
        m = int(marked[stratum].sum())
        n = int(stratum.sum()) - m
        if min(m, n) < _LEAST:
            continue
        ranks = stats.rankdata(scores[stratum], axis=0)
        for part, order in _orders(len(ranks), times, draws):
            marks = np.zeros((len(order), len(ranks)))
            np.put_along_axis(marks, order[:, :m], 1.0, axis=1)
            total[part] += marks @ ranks - m * (m + 1) / 2
        pairs += m * n
    return total / pairs if pairs else np.full_like(total, np.nan)


def interval(value: float, error: float) -> tuple[float, float]:
    """Ends of the interval at LEVEL, by the normal law, within 0 and 1; NaN where the error is not known."""
    if math.isnan(error):
        return math.nan, math.nan
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    return max(0.0, value - reach), min(1.0, value + reach)


def _orders(n: int, times: int, draws: torch.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Random orders of n, a block of them at a time."""
    block = max(1, 4_000_000 // n)
    for first in range(0, times, block):
        count = min(block, times - first)
        keys = torch.rand(count, n, generator=draws, dtype=torch.float64)
        yield slice(first, first + count), keys.argsort(dim=1).numpy()


def _covariance(values: np.ndarray) -> np.ndarray:
    """Covariance of columns (n, s); NaN for a single row, which has no spread."""
    if len(values) < 2:
        return np.full((values.shape[1],) * 2, np.nan)
    centred = values - values.mean(axis=0)
    return centred.T @ centred / (len(values) - 1)
