"""A score compared with its baseline, its nulls and its ceiling, peak by peak, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from netassay.dna.ceiling.bootstrap import Interval, blocks_of, mean_interval

BASELINE, MODEL, BEYOND = "baseline: column means", "model", "r beyond column means"
CEILING = "ceiling"
EXPLAINS = {
    "dinucleotide": "what dinucleotide composition explains",
    "mononucleotide": "what base composition explains",
    "rows": "heights permuted over peaks",
    "cells": "heights permuted over cell types",
}
"""The meaning of each null model, those that explain most first."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """A score beside its baseline, nulls and ceiling.

    Attributes:
        table: Columns what, r, low, high (95 %), above (of the model over this, peak by peak), above_low, above_high,
            share (of the ceiling; null without one) and peaks.
        sentence: The table in a sentence.
        resampled: What was drawn for the intervals, in words.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.ceiling import verdict_of
        >>> peaks = pl.DataFrame({"name": ["a"], "chromosome": ["chr1"], "start": [1], "r": [0.5], "r_baseline": [0.1]})
        >>> verdict_of(peaks).table["what"].to_list()
        ['model', 'baseline: column means']
    """

    table: pl.DataFrame
    sentence: str
    resampled: str


def verdict_of(
    peaks: pl.DataFrame,
    nulls: Mapping[str, pl.DataFrame] | None = None,
    *,
    ceiling: Interval | None = None,
    seed: int = 0,
) -> Verdict:
    """Compare the scores of peaks with those of the column means, of null models, and with a ceiling.

    Differences are of the same peaks, drawn together in every bootstrap repeat.

    Args:
        peaks: Columns name, chromosome, start, r and r_baseline, and r_beyond if known: null where undefined.
        nulls: By kind ("rows", "dinucleotide", ...) the columns name and r of a null model on the same peaks.
        ceiling: The mean r of a perfect model, with its interval, if it is known.
        seed: Seed of the bootstrap.

    Returns:
        The verdict.

    Source:
        Efron and Tibshirani (1993) for the bootstrap; Kunsch (1989) for blocks.

    Example:
        >>> import polars as pl
        >>> from netassay.dna.ceiling import verdict_of
        >>> peaks = pl.DataFrame({"name": ["a", "b"], "chromosome": ["chr1"] * 2, "start": [1, 2], "r": [0.5, 0.5]})
        >>> verdict_of(peaks.with_columns(r_baseline=0.1)).sentence
        'Mean r 0.500 [0.500, 0.500]: 0.400 [0.400, 0.400] above the column means.'
    """
    blocks = blocks_of(peaks)
    r = _numbers(peaks["r"])
    beside = {BASELINE: _numbers(peaks["r_baseline"])}
    for kind in (*EXPLAINS, *(set(nulls or {}) - set(EXPLAINS))):
        if nulls and kind in nulls:
            scores = peaks.select("name").join(
                nulls[kind].select("name", "r").unique("name"), on="name", how="left", maintain_order="left"
            )
            beside[f"null: {kind}"] = _numbers(scores["r"])
    top = ceiling.value if ceiling is not None and ceiling.value > 0 else math.nan
    rows = []
    for label, values in {MODEL: r, **beside}.items():
        interval = mean_interval(values, blocks, seed=seed)
        above = mean_interval(r - values, blocks, seed=seed) if label != MODEL else (None, None, None)
        rows.append((label, *interval, *above, interval.value / top, int(np.isfinite(values).sum())))
    if "r_beyond" in peaks.columns:
        values = _numbers(peaks["r_beyond"])
        rows.append(
            (BEYOND, *mean_interval(values, blocks, seed=seed), None, None, None, None, int(np.isfinite(values).sum()))
        )
    if ceiling is not None and ceiling.value > 0:
        rows.append((CEILING, *ceiling, None, None, None, 1.0, int(np.isfinite(r).sum())))
    numbers = ("r", "low", "high", "above", "above_low", "above_high", "share")
    schema = {"what": pl.String, **dict.fromkeys(numbers, pl.Float64), "peaks": pl.Int64}
    table = pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)
    return Verdict(table, _sentence(table), blocks.words)


def _numbers(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(math.nan).to_numpy()


def _sentence(table: pl.DataFrame) -> str:
    """The model, what it has above the null that explains most (else above the column means), and its share."""
    rows = {row["what"]: row for row in table.iter_rows(named=True)}
    model = rows[MODEL]
    if model["r"] is None:
        return "No peak has a defined r."
    words = [f"Mean r {_number(model['r'], model['low'], model['high'])}"]
    best = next((kind for kind in EXPLAINS if f"null: {kind}" in rows), None)
    row, reference = (rows[f"null: {best}"], EXPLAINS[best]) if best else (rows[BASELINE], "the column means")
    if row["above"] is not None:
        # a negative difference is reported as a positive number "below", its interval turned round
        sign, side = (1, "above") if row["above"] >= 0 else (-1, "below")
        low, high = sorted((sign * row["above_low"], sign * row["above_high"]))
        words.append(f"{_number(sign * row['above'], low, high)} {side} {reference}")
    sentence = ": ".join(words)
    if model["share"] is not None:
        sentence += f"; {model['share']:.0%} of the ceiling".replace("%", " %")
    return f"{sentence}."


def _number(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def beyond_means(r: np.ndarray, r_baseline: np.ndarray, r_both: np.ndarray) -> np.ndarray:
    """Partial correlation of heights and predictions given the column means, for each peak.

    Args:
        r: Correlation of heights and predictions across cell types.
        r_baseline: That of heights and column means.
        r_both: That of predictions and column means.

    Returns:
        (n,) How much predictions say about heights beyond the column means; free of the scale and offset of
        predictions. NaN where one of the correlations is NaN or 1 in size.

    Source:
        Yule (1907) for the formula.

    Example:
        >>> import numpy as np
        >>> from netassay.dna.ceiling import beyond_means
        >>> beyond_means(np.array([0.5]), np.array([0.0]), np.array([0.0])).tolist()
        [0.5]
    """
    unexplained = (1 - np.asarray(r_baseline) ** 2) * (1 - np.asarray(r_both) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(unexplained > 1e-12, (r - r_baseline * r_both) / np.sqrt(np.maximum(unexplained, 0)), math.nan)
