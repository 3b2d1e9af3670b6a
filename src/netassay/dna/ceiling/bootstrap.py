"""Intervals of means over peaks, neighbours drawn together: a bootstrap over blocks of the genome."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Float64, Int64

from netassay.numerics.draws import numpy_draws

BLOCK = 5_000_000
FEWEST_CHROMOSOMES, FEWEST_BLOCKS = 10, 10
MOST_BLOCKS = 500
"""More single peaks than this are drawn in this many random groups, which cost less for the same interval."""
REPEATS = 1_000
LEVEL = 0.95


class Blocks(NamedTuple):
    """The block of each peak, numbered from 0, and what the blocks are, in words."""

    codes: Int64[np.ndarray, " n"]
    words: str

    @property
    def total(self) -> int:
        """Number of blocks."""
        return int(self.codes.max(initial=-1)) + 1


class Interval(NamedTuple):
    """A value, and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def blocks_of(peaks: pl.DataFrame) -> Blocks:
    """Which peaks are drawn together.

    Args:
        peaks: Columns chromosome and start; null where unknown.

    Returns:
        Chromosomes where there are ten or more, else stretches of 5 Mb; single peaks where these are fewer than ten, or
        where coordinates are missing.

    Source:
        Kunsch (1989) for blocks; Bickel et al. (2010) for the genome.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.ceiling import blocks_of
        >>> blocks_of(pl.DataFrame({"chromosome": ["chr1"] * 3, "start": [1, 5, 9]})).words
        'single peaks'
    """
    located = not peaks["chromosome"].has_nulls() and not peaks["start"].has_nulls()
    if located and peaks["chromosome"].n_unique() >= FEWEST_CHROMOSOMES:
        return Blocks(_codes(peaks.select("chromosome")), "chromosomes")
    if located:
        codes = _codes(peaks.select("chromosome", pl.col("start") // BLOCK))
        if codes.max(initial=-1) + 1 >= FEWEST_BLOCKS:
            return Blocks(codes, "blocks of 5 Mb")
    order = np.random.default_rng(len(peaks)).permutation(len(peaks))
    return Blocks(order % MOST_BLOCKS, "single peaks")


def _codes(keys: pl.DataFrame) -> np.ndarray:
    return keys.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy().astype(np.int64) - 1


def draws_of(blocks: Blocks, *, repeats: int = REPEATS, seed: int = 0) -> Float64[np.ndarray, "repeats blocks"]:
    """How often each block is drawn in each repeat."""
    draws = numpy_draws(seed, 0x626C)
    return draws.multinomial(blocks.total, np.full(blocks.total, 1 / blocks.total), repeats).astype(np.float64)


def block_sums(
    values: Float[np.ndarray, "n m"], blocks: Blocks
) -> tuple[Float64[np.ndarray, "blocks m"], Float64[np.ndarray, "blocks m"]]:
    """Sums of each column within each block, and numbers of values; NaN does not count."""
    finite = np.isfinite(values)
    sums, counts = np.zeros((blocks.total, values.shape[1])), np.zeros((blocks.total, values.shape[1]))
    np.add.at(sums, blocks.codes, np.where(finite, values, 0.0))
    np.add.at(counts, blocks.codes, finite)
    return sums, counts


def bounds(samples: Float[np.ndarray, " repeats"]) -> tuple[float, float]:
    """Percentiles of the repeats that hold `LEVEL` of them; NaN if none is finite."""
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(
    values: Float[np.ndarray, " n"], blocks: Blocks, *, repeats: int = REPEATS, seed: int = 0
) -> Interval:
    """The mean of values, one per peak, with a bootstrap interval over blocks.

    Args:
        values: A value for each peak, NaN where it has none.
        blocks: Which peaks are drawn together.
        repeats: Number of bootstrap repeats.
        seed: Seed of the draws.

    Returns:
        Mean and 95 % interval (percentiles); NaN where no value is known.

    Source:
        Efron and Tibshirani (1993).

    Example:
        >>> import numpy as np
        >>> from netassay.dna.ceiling import mean_interval
        >>> from netassay.dna.ceiling.bootstrap import Blocks
        >>> mean_interval(np.ones(20), Blocks(np.arange(20), "single peaks")).low
        1.0
    """
    sums, counts = block_sums(np.asarray(values, np.float64)[:, None], blocks)
    if not counts.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    weights = draws_of(blocks, repeats=repeats, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ sums)[:, 0] / (weights @ counts)[:, 0]
    return Interval(float(sums.sum() / counts.sum()), *bounds(means))
