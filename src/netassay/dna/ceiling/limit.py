"""The largest score that a model could reach against noisy data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Float64

from netassay.dna.ceiling import reliability as model
from netassay.dna.ceiling.bootstrap import (
    Blocks,
    Interval,
    block_sums,
    blocks_of,
    bounds,
    draws_of,
    mean_interval,
)
from netassay.errors import DataError
from netassay.numerics.draws import numpy_draws

FEWEST = 3
"""Minimum number of cell types for a correlation across them."""

LAW_REPEATS = 200
"""Bootstrap repeats of the law of reliabilities, which is fitted anew in each."""

NONE = "no ceiling can be given"


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The largest scores that a perfect model could be expected to reach.

    Attributes:
        overall: The mean over peaks of r across cell types, with its 95 % interval; NaN where none can be given.
        reliability: The mean correlation of the two halves across cell types, with its interval.
        peaks: Columns r_halves, the correlation of the halves, and ceiling, for each peak: null where undefined.
        cell_types: Columns cell_type, r_halves, ceiling, low and high: of r over peaks.
        resampled: What was drawn for the intervals, in words.
        note: Why no ceiling can be given; else "".

    Example:
        >>> import netassay
        >>> atlas = netassay.simulate_atlas(200, length=80, cells=20, depth=3000)
        >>> ceiling = netassay.score_ceiling(atlas)
        >>> ceiling.overall.low < ceiling.overall.value < ceiling.overall.high, len(ceiling.peaks)
        (True, 200)
    """

    overall: Interval
    reliability: Interval
    peaks: pl.DataFrame
    cell_types: pl.DataFrame
    resampled: str
    note: str = ""

    def plot(self) -> Any:
        """The ceiling of each cell type with its interval, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    def share(self, score: float) -> float | None:
        """A score as a share of the ceiling; None where there is none."""
        return score / self.overall.value if self.overall.value > 0 and math.isfinite(score) else None


def ceiling_of(
    halves: Float[np.ndarray, "n cell_types 2"],
    peaks: pl.DataFrame,
    *,
    cell_types: tuple[str, ...] = (),
    target: Literal["both", "one"] = "both",
    centred: bool = False,
    seed: int = 0,
) -> Ceiling:
    """The ceiling of scores against the mean of two halves (or against one of two replicates).

    The interval of `overall` covers the score of a perfect model on these very peaks. Per cell type the ceiling is the
    square root of the halves' correlation over peaks after the Spearman-Brown formula; `overall` and the ceiling of
    each peak also allow for the noise of correlations across few cell types.

    Args:
        halves: (n, cell types, 2) heights of two halves, or of two replicates.
        peaks: Columns chromosome and start, for the blocks of the intervals.
        cell_types: Names of the cell types.
        target: Whether the score is against both halves together, or against one of two replicates.
        centred: Whether the r of cell types is of rows less their mean.
        seed: Seed of the bootstrap.

    Returns:
        The ceilings. Where the interval of the reliability includes 0, the note says so and all are missing.

    Raises:
        DataError: For shapes that do not fit.

    Source:
        Spearman (1904) for the attenuation, Spearman (1910) and Brown (1910) for halves; Kiefer and Wolfowitz (1956).

    Example:
        >>> import numpy as np, polars as pl
        >>> from netassay.dna.ceiling import ceiling_of
        >>> draw = np.random.default_rng(0)
        >>> halves = draw.standard_normal((500, 8, 1)) + draw.standard_normal((500, 8, 2))
        >>> peaks = pl.DataFrame({"chromosome": ["chr1"] * 500, "start": range(500)})
        >>> round(ceiling_of(halves, peaks).overall.value, 1)
        0.8
    """
    if halves.ndim != 3 or halves.shape[2] != 2 or len(peaks) != len(halves):
        raise DataError(f"halves of shape {halves.shape} for {len(peaks)} peaks; needed is (peaks, cell types, 2)")
    count = halves.shape[1]
    first, second = (np.asarray(halves[..., i], np.float64) for i in (0, 1))
    blocks = blocks_of(peaks)
    names = cell_types or tuple(str(i) for i in range(count))
    by_type = _of_cell_types(first, second, names, blocks, target, centred, seed)
    if count < FEWEST:
        missing = Interval(math.nan, math.nan, math.nan)
        note = f"{NONE} across {count} cell types; a correlation needs {FEWEST}"
        return Ceiling(missing, missing, _peaks(np.full(len(peaks), math.nan), None), by_type, blocks.words, note)
    r = model.correlations(first, second)
    mean = mean_interval(r, blocks, seed=seed)
    if not mean.low > 0:
        note = (
            f"{NONE}: the halves correlate by {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}], so that noise "
            "cannot be told from signal; more cells or reads are needed"
        )
        return Ceiling(Interval(math.nan, math.nan, math.nan), mean, _peaks(r, None), by_type, blocks.words, note)
    law = model.kernel(count, 2 if target == "both" else 1)
    ceiling, shares = _mean_ceiling(r, blocks, law, seed)
    return Ceiling(ceiling, mean, _peaks(r, _expected(r, law, shares)), by_type, blocks.words)


def _mean_ceiling(r: np.ndarray, blocks: Blocks, law: model.Kernel, seed: int) -> tuple[Interval, np.ndarray]:
    """The mean score of a perfect model, and the law of the reliabilities."""
    bins = model.bins_of(r)
    one_hot = np.zeros((blocks.total, len(model.EDGES) - 1))
    finite = bins >= 0
    np.add.at(one_hot, (blocks.codes[finite], bins[finite]), 1.0)
    counts = np.vstack([one_hot.sum(axis=0, keepdims=True), draws_of(blocks, repeats=LAW_REPEATS, seed=seed) @ one_hot])
    shares = model.laws(counts, law.chances)
    scores = shares @ law.scores
    # the score of a perfect model on these very peaks, which scatters about its expectation
    scatter = np.sqrt(shares @ law.spreads**2 / max(1, finite.sum()))
    scores[1:] += scatter[1:] * numpy_draws(seed, 0x7363).standard_normal(len(scores) - 1)
    return Interval(float(scores[0]), *bounds(scores[1:])), shares[0]


def _expected(r: np.ndarray, law: model.Kernel, shares: np.ndarray) -> Float64[np.ndarray, " n"]:
    """The expected score of a perfect model on each peak, given the correlation of its halves."""
    weights = law.chances * shares
    expected = (weights @ law.scores) / np.maximum(weights.sum(axis=1), 1e-300)
    bins = model.bins_of(r)
    return np.where(bins >= 0, expected[bins], math.nan)


def _peaks(r: np.ndarray, ceiling: np.ndarray | None) -> pl.DataFrame:
    columns = {"r_halves": r, "ceiling": np.full(len(r), math.nan) if ceiling is None else ceiling}
    return pl.DataFrame({name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()}).fill_nan(None)


def _of_cell_types(
    first: np.ndarray,
    second: np.ndarray,
    names: tuple[str, ...],
    blocks: Blocks,
    target: str,
    centred: bool,
    seed: int,
) -> pl.DataFrame:
    """Ceilings of r over peaks, each from sums over blocks, so that a repeat is a product of matrices."""
    if centred:
        first, second = (rows - rows.mean(axis=1, keepdims=True) for rows in (first, second))
    first, second = (rows - rows.mean(axis=0) for rows in (first, second))  # for the sake of rounding
    moments = [first, second, first**2, second**2, first * second, np.ones_like(first)]
    sums = [block_sums(values, blocks)[0] for values in moments]
    weights = draws_of(blocks, seed=seed)
    rows = []
    r, samples = (
        _correlation([values.sum(axis=0) for values in sums]),
        _correlation([weights @ values for values in sums]),
    )
    for column, name in enumerate(names):
        low, high = bounds(samples[:, column])
        edges = [_ceiling(value, target) if low > 0 else None for value in (float(r[column]), low, high)]
        rows.append((name, float(r[column]), *edges))
    schema = dict.fromkeys(("r_halves", "ceiling", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={"cell_type": pl.String, **schema}, orient="row").fill_nan(None)


def _correlation(sums: list[np.ndarray]) -> np.ndarray:
    x, y, xx, yy, xy, n = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))


def _ceiling(r: float, target: str) -> float:
    return math.sqrt(min(1.0, 2 * r / (1 + r) if target == "both" else r)) if r > 0 else math.nan
