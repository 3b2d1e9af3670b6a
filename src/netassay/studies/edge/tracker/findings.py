"""What a tracked run says of itself; it is a user's own loop that made it."""

from __future__ import annotations

from typing import Any

import polars as pl

from netassay.runs import Run


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None beside the metrics."""
    return {}


def summary(run: Run) -> dict[str, Any]:
    """The last numbers, where the edge was reached first, and what share of the training time was spent."""
    metrics = run.metrics()
    last = run.last_values()
    ratios = metrics.filter((pl.col("name") == "edge_ratio") & (pl.col("part") == ""))
    above = ratios.filter(pl.col("value") >= 1)["step"]
    return {
        "name": run.config.get("name"),
        "loss": last.get(("loss", "")),
        "sharpness": last.get(("sharpness", "")),
        "edge_ratio": last.get(("edge_ratio", "")),
        "first_step_at_the_edge": int(above[0]) if len(above) else None,
        "looks": metrics.filter(pl.col("name") == "tracked_loss").height,
        "share": last.get(("share", "")),
    }
