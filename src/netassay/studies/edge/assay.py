"""One run of the edge study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from typing import Any, Literal, get_type_hints

import numpy as np
import polars as pl
import torch
from torch import nn

from netassay import training
from netassay.numerics import devices
from netassay.numerics.following import Follower
from netassay.runs import Run, State
from netassay.studies.edge.central_flow import CentralBeside, CentralFlow
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import Data
from netassay.studies.edge.datasets import load
from netassay.studies.edge.descent import Descent
from netassay.studies.edge.flow import FlowBeside, GradientFlow
from netassay.studies.edge.instruments import (
    Alignment,
    BatchSharpnessOf,
    GaussNewton,
    Instrument,
    Projections,
    Spectrum,
    TraceOf,
)
from netassay.studies.edge.losses import LOSSES
from netassay.studies.edge.networks import network
from netassay.studies.edge.optimisers import optimiser
from netassay.studies.edge.phases import Phase, layer_phases, phases
from netassay.studies.edge.thresholds import ADAPTIVE

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
    data = load(config, dtype=dtype, device=device)
    model = network(config, data, dtype=dtype).to(device)
    way = optimiser(config, {n: p for n, p in model.named_parameters() if p.requires_grad}, config.examples)
    return Descent(
        model,
        LOSSES[config.loss],
        data,
        optimiser=way,
        every=training.Every(config.curvature_every, last=config.steps),
        follower=follower(config, k=config.top),
        preconditioned=follower(config) if config.optimiser in ADAPTIVE else None,
        instruments=instruments(config, model, data),
        layers=config.layers,
    )


def follower(config: EdgeConfig, k: int = 1) -> Follower:
    """What follows one matrix and its blocks through the measurements of a run."""
    return Follower(
        k=k,
        block_k=1,
        tolerance=config.tolerance,
        seed=config.seed,
        probe_every=max(1, PROBE_STEPS // config.curvature_every),
        max_products=MOST_PRODUCTS,
    )


def instruments(config: EdgeConfig, model: nn.Module, data: Data) -> list[Instrument]:
    """What a config asks to be measured beside loss and sharpness."""
    blocks: Literal["layer"] | None = "layer" if config.layers else None
    loss, batches = LOSSES[config.loss], [(data.train.inputs, data.train.labels)]
    own = config.optimiser_settings()
    found: list[Instrument] = []
    if config.gauss_newton:
        found.append(GaussNewton(follower(config), follower(config), blocks))
    if config.alignment:
        found.append(Alignment())
    if config.trace_products:
        found.append(TraceOf(config.trace_products, config.seed))
    if config.density_steps:
        found.append(Spectrum(config.density_steps, config.seed))
    if config.batch_probes:
        found.append(
            BatchSharpnessOf(config.batch_probes, int(own["batch_size"]), config.step_size, config.seed)
        )
    if config.projections:
        found.append(Projections(config.projections))
    if config.flow:
        flow = GradientFlow(model, loss, batches, follower=follower(config), blocks=blocks)
        found.append(FlowBeside(flow, config.step_size / (1 - own.get("momentum", 0.0))))
    if config.central_flow:
        flow_between = CentralFlow(model, loss, batches, step_size=config.step_size, seed=config.seed)
        found.append(CentralBeside(flow_between))
    return found


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
