"""How well a predictor orders step sizes, and how far it is off."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

PREDICTORS = ("by_start", "by_flow")
LEAST = 3


class Agreement(NamedTuple):
    """`networks` with both numbers, Spearman's rank correlation, and quartiles of largest step size / predictor."""

    networks: int
    correlation: float
    ratio_low: float
    ratio: float
    ratio_high: float


def agreement(largest: pl.Series, predicted: pl.Series) -> Agreement | None:
    """Of those networks for which both are known; None below three. NaN correlation where either is constant."""
    from scipy.stats import rankdata

    both = pl.DataFrame({"largest": largest, "predicted": predicted}).drop_nulls().drop_nans()
    if both.height < LEAST:
        return None
    a, b = both["largest"].to_numpy(), both["predicted"].to_numpy()
    ranks = rankdata(a), rankdata(b)
    constant = any(np.ptp(rank) == 0 for rank in ranks)
    correlation = np.nan if constant else np.corrcoef(*ranks)[0, 1]
    return Agreement(both.height, float(correlation), *np.quantile(a / b, [0.25, 0.5, 0.75]).tolist())
