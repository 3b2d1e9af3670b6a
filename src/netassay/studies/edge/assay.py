"""One run of the edge study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import polars as pl
import torch

from netassay import training
from netassay.nets.mlp import MLP
from netassay.numerics import devices
from netassay.numerics.following import Follower
from netassay.numerics.seeds import generator
from netassay.runs import Run, State
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import digits
from netassay.studies.edge.descent import Descent
from netassay.studies.edge.losses import LOSSES
from netassay.studies.edge.phases import Phase, layer_phases, phases

# a measurement is now and then, so its tolerance is kept whatever it costs, up to this bound on a matrix
MOST_PRODUCTS = 200
# steps of descent after which an eigenvalue that came up unseen is looked for
PROBE_STEPS = 25


def assay(config: EdgeConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Trains the network of `config` and records its curvature; keywords go to `training.train`."""
    descent = build(config)
    return training.train(
        descent, recorder, steps=config.steps, divergence_factor=config.divergence_factor, **keywords
    )


def build(config: EdgeConfig) -> Descent:
    """Data, network and descent of a config, at their start."""
    device, dtype = devices.device(config.device), getattr(torch, config.dtype)
    data = digits(config.examples, dtype=dtype, device=device)
    model = MLP(
        data.train.inputs.shape[1],
        data.classes,
        depth=config.depth,
        width=config.width,
        activation=config.activation,
        bias=config.bias,
        initialisation=config.initialisation,
        generator=generator(config.seed, "init"),
        dtype=dtype,
    ).to(device)
    return Descent(
        model,
        LOSSES[config.loss],
        data,
        step_size=config.step_size,
        every=training.Every(config.curvature_every, last=config.steps),
        follower=Follower(
            k=config.top,
            block_k=1,
            tolerance=config.tolerance,
            seed=config.seed,
            probe_every=max(1, PROBE_STEPS // config.curvature_every),
            max_products=MOST_PRODUCTS,
        ),
        layers=config.layers,
    )


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
    last = {(name, part): value for _, name, part, value in run.metrics().iter_rows()}
    return {
        "phases": phase_table(run).to_dicts(),
        "loss": last.get(("loss", "")),
        "accuracy": last.get(("accuracy", "train")),
        "test_loss": last.get(("test_loss", "")),
        "test_accuracy": last.get(("accuracy", "test")),
        "sharpness": last.get(("sharpness", "")),
        "edge_ratio": last.get(("edge_ratio", "")),
    }
