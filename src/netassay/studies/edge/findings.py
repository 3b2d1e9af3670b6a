"""What a run of the edge study found, read from its folder."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import polars as pl

from netassay.runs import Run, State
from netassay.studies.edge.phases import Phase, layer_phases, phases


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """The table of phases, whole network first, then layer by layer."""
    return {"phases": phase_table(run)}


def phase_table(run: Run) -> pl.DataFrame:
    """Phases found in a run's numbers, as far as they go; columns are the fields of `phases.Phase`."""
    metrics = run.metrics()
    ratios = metrics.filter(pl.col("name") == "edge_ratio")
    diverged_at = run.step if run.state == State.DIVERGED else None
    found = phases(
        *_series(ratios, ""),
        _series(metrics.filter(pl.col("name") == "loss"), "")[1],
        diverged_at=diverged_at,
    )
    for part in ratios["part"].unique(maintain_order=True):
        if part:
            found += layer_phases(*_series(ratios, part), part=part)
    return pl.DataFrame([phase._asdict() for phase in found], schema=get_type_hints(Phase))


def _series(metrics: pl.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray]:
    rows = metrics.filter(pl.col("part") == part).sort("step")
    return rows["step"].to_numpy(), rows["value"].to_numpy()


def summary(run: Run) -> dict[str, Any]:
    """Phases and the last recorded numbers; None for what was never measured."""
    last = run.last_values()
    return {
        "phases": phase_table(run).to_dicts(),
        "loss": last.get(("loss", "")),
        "accuracy": last.get(("accuracy", "train")),
        "test_loss": last.get(("test_loss", "")),
        "test_accuracy": last.get(("accuracy", "test")),
        "sharpness": last.get(("sharpness", "")),
        "edge_ratio": last.get(("edge_ratio", "")),
    }
