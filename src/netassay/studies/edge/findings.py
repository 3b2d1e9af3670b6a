"""Results of a run of the edge study, read from its folder."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import polars as pl

from netassay.reporting.quantity import Course, Quantity
from netassay.runs import Run, State
from netassay.studies.edge.phases import Phase, layer_phases, phases


def _metrics(names: str, part: str, at: str, meaning: str) -> Quantity:
    return Quantity(tuple(names.split()), part, at, meaning)


METRICS = (
    _metrics("loss", '""', "every step", "L(θ)"),
    _metrics("gradient_norm", '"", layer', "every step", "Euclidean norm of the gradient"),
    _metrics("sharpness", '""', "curvature", "λ, largest eigenvalue of H"),
    _metrics("sharpness", "layer", "curvature", "largest eigenvalue of H_ll; never above λ (Cauchy interlacing)"),
    _metrics(
        "sharpness_error sharpness_residual",
        '"", layer',
        "curvature",
        "estimated absolute error of the value; norm of Hv − λv",
    ),
    _metrics("products", '"", layer', "curvature", "Hessian products spent on it"),
    _metrics(
        "edge_ratio",
        '"", layer',
        "curvature",
        "λ over the optimiser's threshold, for gradient descent ηλ/2: 1 is the edge",
    ),
    _metrics("eigenvalue", "rank", "curvature", "the `top` largest eigenvalues of H"),
    _metrics(
        "leading_weight",
        "layer",
        "curvature",
        "squared length of the layer's part of the leading eigenvector; they sum to 1",
    ),
    _metrics(
        "preconditioned_sharpness preconditioned_sharpness_error preconditioned_products",
        '"", layer',
        "curvature",
        "largest eigenvalue of P⁻¹H, its estimated error, products spent on it (adam, rmsprop)",
    ),
    _metrics("accuracy", "train, test", "curvature", "share of right classes"),
    _metrics("test_loss", '""', "curvature", "loss on the test examples"),
    _metrics("parameter_norm distance", '"", layer', "curvature", "norm of θ, of θ minus its start"),
    _metrics("left_out", "reason", "step 0", "number of data that the network could not use, by reason"),
)
"""Metrics of every run; optional ones are in `instruments`."""
COURSE = Course("eta lambda/2", "edge_ratio")
"""The metric that shows the progress of a run: 1 is the edge."""


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """The table of phases, the network first, then layer by layer."""
    return {"phases": phase_table(run)}


def phase_table(run: Run) -> pl.DataFrame:
    """Phases found in a run's numbers, as far as they go; columns are the fields of `phases.Phase`."""
    metrics = run.metrics()
    ratios = metrics.filter(pl.col("name") == "edge_ratio")
    diverged_at = run.step if run.state == State.DIVERGED else None
    rows = phases(
        *_series(ratios, ""),
        _series(metrics.filter(pl.col("name") == "loss"), "")[1],
        diverged_at=diverged_at,
    )
    for part in ratios["part"].unique(maintain_order=True):
        if part:
            rows += layer_phases(*_series(ratios, part), part=part)
    return pl.DataFrame([phase._asdict() for phase in rows], schema=get_type_hints(Phase))


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
