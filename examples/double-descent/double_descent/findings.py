"""What a run found, read from its folder."""

from __future__ import annotations

from typing import Any

import polars as pl

from netassay.runs import Run

COLUMNS = ("features", "loss", "test_loss", "test_error", "norm")


def fits(run: Run) -> pl.DataFrame:
    """A row a fit that was made, with the columns `COLUMNS`; none yet for a run that was not begun."""
    metrics = run.metrics()
    rows = {column: metrics.filter(pl.col("name") == column)["value"] for column in COLUMNS}
    length = min(map(len, rows.values()))
    return pl.DataFrame({column: values[:length] for column, values in rows.items()})


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """The fits, kept beside the metrics."""
    return {"fits": fits(run)}


def summary(run: Run) -> dict[str, Any]:
    """Where the test loss peaks and where it is least; None while nothing was fitted."""
    made = fits(run).filter(pl.col("test_loss").is_finite())
    if not made.height:
        return {"fits": 0, "peak": None, "best": None}
    by_loss = made.sort("test_loss")
    peak, best = by_loss.row(-1, named=True), by_loss.row(0, named=True)
    return {"fits": made.height, "peak": peak, "best": best}
