"""Areas under the ROC and the precision-recall curve with bootstrap intervals, and a lower bound of their ceiling."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from netassay.dna.ceiling.bootstrap import Blocks, Interval, bounds, draws_of
from netassay.errors import DataError

AREA_REPEATS = 200


class Areas(NamedTuple):
    """Areas under the ROC and the precision-recall curve (average precision), with 95 % intervals."""

    auroc: Interval
    auprc: Interval


def area_intervals(
    guess: Float[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    blocks: Blocks,
    *,
    repeats: int = AREA_REPEATS,
    seed: int = 0,
) -> Areas:
    """Areas under the curves of one label, with bootstrap intervals over blocks of the genome.

    Args:
        guess: A number for each peak, larger for those more likely to have the label.
        truth: Which peaks have it.
        blocks: Which peaks are drawn together.
        repeats: Number of bootstrap repeats.
        seed: Seed of the draws.

    Returns:
        Both areas; NaN where all peaks are of one kind.

    Source:
        Hanley and McNeil (1982) for the area as a probability; Davis and Goadrich (2006) for average precision.

    Example:
        >>> import numpy as np
        >>> from netassay.dna.ceiling import area_intervals, blocks_of
        >>> import polars as pl
        >>> blocks = blocks_of(pl.DataFrame({"chromosome": ["chr1"] * 4, "start": range(4)}))
        >>> area_intervals(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]), blocks).auroc.value
        0.75
    """
    if not truth.any() or truth.all():
        missing = Interval(math.nan, math.nan, math.nan)
        return Areas(missing, missing)
    order = np.argsort(-guess, kind="stable")
    ordered = guess[order]
    # peaks with equal guesses are counted together
    last = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    weights = np.vstack([np.ones((1, blocks.total)), draws_of(blocks, repeats=repeats, seed=seed)])
    auroc, auprc = [], []
    for weight in weights:
        peak_weights = weight[blocks.codes[order]]
        hits, misses = (np.cumsum(peak_weights * kind)[last] for kind in (truth[order], ~truth[order]))
        auroc.append(_roc(hits, misses))
        auprc.append(_precision(hits, misses))
    return Areas(Interval(auroc[0], *bounds(np.array(auroc[1:]))), Interval(auprc[0], *bounds(np.array(auprc[1:]))))


def _roc(hits: np.ndarray, misses: np.ndarray) -> float:
    if not hits[-1] or not misses[-1]:
        return math.nan
    steps = np.diff(misses, prepend=0.0)
    return float((steps * (hits + np.r_[0.0, hits[:-1]]) / 2).sum() / (hits[-1] * misses[-1]))


def _precision(hits: np.ndarray, misses: np.ndarray) -> float:
    if not hits[-1]:
        return math.nan
    precision = hits / np.maximum(hits + misses, 1e-300)
    return float((np.diff(hits, prepend=0.0) * precision).sum() / hits[-1])


def area_floor(
    halves: Float[np.ndarray, "n cell_types 2"], threshold: float, blocks: Blocks, *, seed: int = 0
) -> list[Areas]:
    """A lower bound of the areas that a perfect model could reach: one half's calls scored by the other half's values.

    The scoring half is noisy and a perfect model is not, so the model could do better. The mean of both directions.

    Args:
        halves: (n, cell types, 2) heights of two halves.
        threshold: A peak is called open where its height is above this.
        blocks: Which peaks are drawn together.
        seed: Seed of the bootstrap.

    Returns:
        Areas for each cell type; NaN where no peak or every peak is called open.

    Raises:
        DataError: For shapes that do not fit.

    Source:
        Spearman (1904) for what noise does to agreement.

    Example:
        >>> import numpy as np, polars as pl
        >>> from netassay.dna.ceiling import area_floor, blocks_of
        >>> halves = np.arange(8.0).reshape(4, 1, 2)
        >>> blocks = blocks_of(pl.DataFrame({"chromosome": ["chr1"] * 4, "start": range(4)}))
        >>> area_floor(halves, 3.0, blocks)[0].auroc.value
        1.0
    """
    if halves.ndim != 3 or halves.shape[2] != 2:
        raise DataError(f"halves have the shape {halves.shape}; needed is (peaks, cell types, 2)")
    areas = []
    for column in range(halves.shape[1]):
        directions = [
            area_intervals(halves[:, column, 1 - half], halves[:, column, half] > threshold, blocks, seed=seed)
            for half in (0, 1)
        ]
        areas.append(Areas(*(_mean(*pair) for pair in zip(*directions, strict=True))))
    return areas


def _mean(first: Interval, second: Interval) -> Interval:
    return Interval(*((a + b) / 2 for a, b in zip(first, second, strict=True)))
