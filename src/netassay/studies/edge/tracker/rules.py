"""Findings of tracked trainings in words: whether a training reached its edge of stability, and stayed there."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from netassay.references import COHEN, FOX
from netassay.reporting.section import Finding
from netassay.runs import Run, State

QUESTION = "Did my training reach its edge of stability?"
READING = "1 is the edge: above it the steepest direction is unstable at the step size of the moment."
REFERENCES = (COHEN, FOX)
FEWEST_LOOKS = 5
"""Minimum number of looks, and of looks from the edge on, for a sentence."""


def findings(runs: Sequence[Run]) -> list[Finding]:
    """A sentence about each tracked training that has ended."""
    return [finding for run in runs if run.state is State.FINISHED for finding in _edge(run)]


def _edge(run: Run) -> list[Finding]:
    """The ratio of sharpness and edge against 1, if its tolerance leaves no doubt on which side it lies."""
    metrics = run.metrics().filter(pl.col("name") == "edge_ratio", pl.col("part") == "").sort("step")
    tolerance = run.config["tolerance"]
    if metrics.height < FEWEST_LOOKS or not metrics["value"].is_finite().all():
        return []
    name = run.config.get("name") or run.id
    above = metrics.filter(pl.col("value") * (1 - tolerance) >= 1)
    if above.height:
        first = int(above["step"][0])
        later = metrics.filter(pl.col("step") >= first)["value"]
        if later.len() < FEWEST_LOOKS:
            return []
        low, middle, high = (later.quantile(share, "linear") for share in (0.25, 0.5, 0.75))
        text = (
            f"{name}: the sharpness reaches the edge of stability at step {first:,}; from there on it is {middle:.2f} "
            f"times the edge in the median (quartiles {low:.2f} to {high:.2f}, {later.len()} looks; 1 is the edge)."
        )
    else:
        largest = metrics.sort("value").row(-1, named=True)
        if largest["value"] * (1 + tolerance) >= 1:
            return []
        text = (
            f"{name}: the sharpness stays below the edge of stability: at most {largest['value']:.2f} of it (at step "
            f"{largest['step']:,}, relative tolerance {tolerance:.2g}, {metrics.height} looks; 1 is the edge)."
        )
    return [Finding(text, "tracker-ratio", "", QUESTION)]
