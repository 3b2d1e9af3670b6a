"""One run of the edge study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from netassay import training
from netassay.numerics import devices
from netassay.runs import Run
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import load
from netassay.studies.edge.descent import Descent, optimiser
from netassay.studies.edge.findings import tables as tables
from netassay.studies.edge.networks import LOSSES, network
from netassay.studies.edge.optimisers import OPTIMISERS
from netassay.studies.edge.readers import follower, readers


def assay(config: EdgeConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Trains the network of `config` and records its curvature; keywords go to `training.train`."""
    descent = build(config)
    return training.train(descent, recorder, steps=config.steps, divergence_factor=config.divergence_factor, **keywords)


def model(run: Run) -> nn.Module:
    """The network at the weights of the run's newest checkpoint, in evaluation mode."""
    descent = build(EdgeConfig.from_mapping(run.config, where=str(run.folder)))
    checkpoint = run.latest_checkpoint()
    descent.load(checkpoint.tensors, checkpoint.facts["trainee"])
    return descent.model.eval()


def build(config: EdgeConfig) -> Descent:
    """Data, network and descent of a config, at their start."""
    device, dtype = devices.device(config.device), getattr(torch, config.dtype)
    data = load(config, dtype=dtype, device=device)
    model = network(config, data, dtype=dtype).to(device)
    method = optimiser(config, {n: p for n, p in model.named_parameters() if p.requires_grad}, config.examples)
    return Descent(
        model,
        LOSSES[config.loss],
        data,
        optimiser=method,
        every=training.Every(config.curvature_every, last=config.steps),
        follower=follower(config, k=config.top),
        preconditioned=follower(config) if OPTIMISERS[config.optimiser].preconditioned else None,
        readers=readers(config, model, data),
        layers=config.layers,
    )
