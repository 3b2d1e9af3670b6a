"""Results of a tracked run, which a user's own loop made."""

from __future__ import annotations

from typing import Any

import polars as pl

from netassay.runs import Run


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None besides the metrics."""
    return {}


def verdict(run: Run) -> str:
    """Whether a training reached its edge of stability, in words; "" without a ratio."""
    metrics = run.metrics().filter(pl.col("part") == "")
    sentences = []
    for name, beyond, within in (
        ("edge_ratio", "reached the edge of stability at step {}", "did not reach the edge of stability"),
        (
            "critical_ratio",
            "a next step raised the tracked loss first at step {}",
            "no next step raised the loss",
        ),
    ):
        ratios = metrics.filter(pl.col("name") == name).sort("step")
        if ratios.height:
            above = ratios.filter(pl.col("value") >= 1)["step"]
            words = beyond.format(int(above[0])) if len(above) else within
            largest, last = max(ratios["value"]), ratios["value"][-1]
            sentences.append(f"{words} (ratio at most {largest:.3g}, in the end {last:.3g}, {ratios.height} looks)")
    return "; ".join(sentences)


def summary(run: Run) -> dict[str, Any]:
    """The last numbers, the first step at the edge, and the share of the training time that was spent."""
    metrics = run.metrics()
    last = run.last_values()
    ratios = metrics.filter((pl.col("name") == "edge_ratio") & (pl.col("part") == ""))
    above = ratios.filter(pl.col("value") >= 1)["step"]
    return {
        "name": run.config.get("name"),
        "loss": last.get(("loss", "")),
        "sharpness": last.get(("sharpness", "")),
        "edge_ratio": last.get(("edge_ratio", "")),
        "critical_ratio": last.get(("critical_ratio", "")),
        "first_step_at_the_edge": int(above[0]) if len(above) else None,
        "looks": metrics.filter(pl.col("name") == "tracked_loss").height,
        "share": last.get(("share", "")),
    }
