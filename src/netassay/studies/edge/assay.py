"""One run of the edge study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from netassay import training
from netassay.curvature.central_flow import CentralFlow
from netassay.curvature.flow import GradientFlow
from netassay.curvature.following import Follower
from netassay.numerics import devices
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import Data
from netassay.studies.edge.datasets import load
from netassay.studies.edge.descent import Descent
from netassay.studies.edge.findings import tables as tables
from netassay.studies.edge.instruments import (
    Alignment,
    BatchSharpnessOf,
    CentralBeside,
    FlowBeside,
    GaussNewton,
    Instrument,
    Projections,
    Spectrum,
    TraceOf,
)
from netassay.studies.edge.losses import LOSSES
from netassay.studies.edge.networks import network
from netassay.studies.edge.optimisers import OPTIMISERS
from netassay.studies.edge.stepping import optimiser

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
        preconditioned=follower(config) if OPTIMISERS[config.optimiser].preconditioned else None,
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
