"""Measurements beside loss and sharpness: a class for each entry of `instruments`.

A reader reads a `Look` and returns numbers; only followers and flows have a state. Random draws are keyed by seed and
step, so they need none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from netassay.curvature.central_flow import CentralFlow
from netassay.curvature.combined import Difference
from netassay.curvature.curvature import Curvature
from netassay.curvature.density import Density, curvature_density
from netassay.curvature.directions import alignment, batch_sharpness, directional, directional_sharpness
from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.flow import GradientFlow
from netassay.curvature.following import Follower
from netassay.curvature.hutchinson import Trace, curvature_trace
from netassay.curvature.largest_curvature import Sharpness
from netassay.numerics.devices import generator
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import Data, Examples
from netassay.studies.edge.instruments import INSTRUMENTS
from netassay.studies.edge.networks import LOSSES, Layers, Loss, norms
from netassay.training import Metric, group_of, grouped


@dataclass(frozen=True)
class Look:
    """The weights of one step, and the curvature of the training loss there with its graph and sharpness."""

    step: int
    model: nn.Module
    loss: Loss
    train: Examples
    curvature: Curvature
    sharpness: Sharpness
    distance: Tensor  # (P,) weights minus those of the start
    layers: Layers


@runtime_checkable
class Reader(Protocol):
    """Measures one thing; `name` is that of its state in checkpoints."""

    name: str

    @classmethod
    def of(cls, config: EdgeConfig, model: nn.Module, data: Data) -> Reader: ...

    def read(self, look: Look) -> Mapping[Metric, float]: ...

    def state(self) -> Mapping[str, Tensor]: ...

    def load(self, tensors: Mapping[str, Tensor]) -> None: ...


# measurements are rare, so their tolerance is met whatever it costs, up to this bound per matrix
MOST_PRODUCTS = 200
# steps of descent between searches for an eigenvalue that came up unseen
PROBE_STEPS = 25


def follower(config: EdgeConfig, k: int = 1) -> Follower:
    """The follower of one matrix and its blocks through the measurements of a run."""
    return Follower(
        k=k,
        block_k=1,
        tolerance=config.tolerance,
        seed=config.seed,
        probe_every=max(1, PROBE_STEPS // config.curvature_every),
        max_products=MOST_PRODUCTS,
    )


def readers(config: EdgeConfig, model: nn.Module, data: Data) -> list[Reader]:
    """The readers of all measurements of a config beside loss and sharpness."""
    names = [instrument.reader for instrument in INSTRUMENTS if getattr(config, instrument.key)]
    # classes of this file, named where no torch is loaded
    classes: list[type[Reader]] = [globals()[name] for name in names]
    return [reader.of(config, model, data) for reader in classes]


def _blocks(config: EdgeConfig) -> Literal["layer"] | None:
    return "layer" if config.layers else None


class Stateless:
    """A reader that needs nothing but the config."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config

    @classmethod
    def of(cls, config: EdgeConfig, model: nn.Module, data: Data) -> Stateless:
        return cls(config)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        pass


class GaussNewton:
    """Sharpness of the Gauss-Newton matrix G, in total and per layer, and the largest eigenvalue of H - G."""

    name = "gauss_newton"

    def __init__(self, follower: Follower, residual: Follower, blocks: Literal["layer"] | None) -> None:
        self.follower, self.residual, self.blocks = follower, residual, blocks

    @classmethod
    def of(cls, config: EdgeConfig, model: nn.Module, data: Data) -> GaussNewton:
        return cls(follower(config), follower(config), _blocks(config))

    def read(self, look: Look) -> Mapping[Metric, float]:
        batches = [(look.train.inputs, look.train.labels)]
        with Curvature(look.model, look.loss, batches, kind="ggn", blocks=self.blocks) as ggn:
            gauss_newton = self.follower.follow(ggn)
            residual = self.residual.follow(Difference(look.curvature, ggn))
        return _tops("ggn_sharpness", gauss_newton) | _tops("residual_sharpness", residual)

    def state(self) -> Mapping[str, Tensor]:
        return grouped({"ggn": self.follower.state(), "residual": self.residual.state()})

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.follower.load(group_of(tensors, "ggn"))
        self.residual.load(group_of(tensors, "residual"))


def _tops(name: str, sharpness: Sharpness) -> dict[Metric, float]:
    values: dict[Metric, float] = {}
    matrices: dict[str, Sharpness | Eigenpairs] = {"": sharpness, **sharpness.blocks}
    for part, pairs in matrices.items():
        values[(name, part)] = float(pairs.values[0])
        values[(f"{name}_error", part)] = float(pairs.errors[0])
    return values


class Alignment(Stateless):
    """Squared cosines of the gradient with the leading eigenvectors, and g'Hg / g'g in total and per layer."""

    name = "alignment"

    def read(self, look: Look) -> Mapping[Metric, float]:
        curvature = look.curvature
        values: dict[Metric, float] = {
            ("gradient_alignment", str(rank)): share
            for rank, share in enumerate(alignment(look.sharpness.vectors, curvature.gradient).tolist(), start=1)
        }
        values[("directional_sharpness", "")] = directional_sharpness(curvature, curvature.gradient)
        for name in curvature.blocks:
            along = directional(partial(curvature.block_product, name), curvature.block_gradient(name))
            if not math.isnan(along):
                values[("directional_sharpness", name)] = along
        return values


class TraceOf(Stateless):
    """Trace of the Hessian, in total and per layer, with standard errors."""

    name = "trace"

    def read(self, look: Look) -> Mapping[Metric, float]:
        draws = generator(self.config.seed, "trace", str(look.step))
        estimate = curvature_trace(look.curvature, products=self.config.trace_products, generator=draws)
        values: dict[Metric, float] = {}
        parts: dict[str, Trace] = {"": estimate, **estimate.blocks}
        for part, trace in parts.items():
            values |= {("trace", part): trace.value, ("trace_error", part): trace.error}
        return values


class Spectrum(Stateless):
    """Spectral density as the nodes and weights of a quadrature; of layer l the part is l:rank, of the whole :rank."""

    name = "spectrum"

    def read(self, look: Look) -> Mapping[Metric, float]:
        draws = generator(self.config.seed, "spectrum", str(look.step))
        estimate = curvature_density(look.curvature, steps=self.config.density_steps, generator=draws)
        values: dict[Metric, float] = {}
        parts: dict[str, Density] = {"": estimate, **estimate.blocks}
        for part, density in parts.items():
            rule = zip(density.nodes[0].tolist(), density.weights[0].tolist(), strict=True)
            for rank, (node, weight) in enumerate(rule, start=1):
                values |= {
                    ("spectrum_node", f"{part}:{rank}"): node,
                    ("spectrum_weight", f"{part}:{rank}"): weight,
                }
        return values


class BatchSharpnessOf(Stateless):
    """Batch sharpness over mini-batches drawn as training draws them, and its ratio to 2 / eta."""

    name = "batch_sharpness"

    def read(self, look: Look) -> Mapping[Metric, float]:
        draws = generator(self.config.seed, "batch sharpness", str(look.step))
        count, size = len(look.train.labels), int(self.config.optimiser_settings()["batch_size"])
        picks = (torch.randperm(count, generator=draws)[:size] for _ in range(self.config.batch_probes))
        estimate = batch_sharpness(
            look.model, look.loss, [(look.train.inputs[at], look.train.labels[at]) for at in picks]
        )
        return {
            ("batch_sharpness", ""): estimate.value,
            ("batch_sharpness_error", ""): estimate.error,
            ("batch_edge_ratio", ""): self.config.step_size * estimate.value / 2,
        }


class Projections(Stateless):
    """The displacement from the start in fixed random directions, the same for all runs of one network.

    Entries are standard normal over sqrt(count): for two runs from one start, the distance of their projections
    estimates that of their weights to about 1 / sqrt(2 count) relative (Johnson and Lindenstrauss 1984).
    """

    name = "projections"

    def read(self, look: Look) -> Mapping[Metric, float]:
        # independent of the run's seed, since runs are compared with each other
        values = project(look.distance, self.config.projections)
        return {("projection", str(i)): value for i, value in enumerate(values, start=1)}


def project(vector: Tensor, count: int) -> list[float]:
    """`count` fixed random projections of a flat vector, drawn one row at a time to hold one row in memory."""
    draws = generator(0, "projections")
    v = vector.double().cpu()
    return [float(torch.randn(len(v), generator=draws, dtype=torch.float64) @ v) / count**0.5 for _ in range(count)]


class Beside:
    """A flow that is followed beside the descent, whose state is that of its reader."""

    flow: GradientFlow | CentralFlow

    def state(self) -> Mapping[str, Tensor]:
        return self.flow.state()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.flow.load(tensors)


class FlowBeside(Beside):
    """Gradient flow beside a descent: its numbers at the time that the descent has reached, and their distance.

    If the flow could not be followed to that time, `flow_reached` is 0 and it has no other numbers.
    """

    name = "flow"
    flow: GradientFlow

    def __init__(self, flow: GradientFlow, step_time: float) -> None:
        """`step_time` is the time of the flow during one step: eta, with momentum b eta / (1 - b)."""
        self.flow, self.step_time = flow, step_time

    @classmethod
    def of(cls, config: EdgeConfig, model: nn.Module, data: Data) -> FlowBeside:
        batches = [(data.train.inputs, data.train.labels)]
        flow = GradientFlow(model, LOSSES[config.loss], batches, follower=follower(config), blocks=_blocks(config))
        return cls(flow, config.step_size / (1 - config.optimiser_settings().get("momentum", 0.0)))

    def read(self, look: Look) -> Mapping[Metric, float]:
        values: dict[Metric, float] = {
            ("flow_reached", ""): float(self.flow.advance(look.step * self.step_time)),
            ("flow_steps", ""): float(self.flow.steps),
        }
        if self.flow.stopped:
            return values
        look_of_flow = self.flow.look()
        apart = {
            name: p.detach() - self.flow.parameters[name].detach()
            for name, p in look.model.named_parameters()
            if p.requires_grad
        }
        values |= {
            ("flow_loss", ""): look_of_flow.loss,
            ("flow_loss_error", ""): look_of_flow.loss_error,
            ("flow_distance_error", ""): look_of_flow.weights_error,
        }
        values |= _tops("flow_sharpness", look_of_flow.sharpness)
        return values | norms("flow_distance", apart, look.layers)


class CentralBeside(Beside):
    """The central flow beside gradient descent, and how far the descent is from it."""

    name = "central_flow"
    flow: CentralFlow

    def __init__(self, flow: CentralFlow) -> None:
        self.flow = flow

    @classmethod
    def of(cls, config: EdgeConfig, model: nn.Module, data: Data) -> CentralBeside:
        batches = [(data.train.inputs, data.train.labels)]
        return cls(CentralFlow(model, LOSSES[config.loss], batches, step_size=config.step_size, seed=config.seed))

    def read(self, look: Look) -> Mapping[Metric, float]:
        self.flow.advance(look.step)
        look_of_flow = self.flow.look()
        apart = [
            (p.detach() - self.flow.parameters[name].detach()).double().square().sum()
            for name, p in look.model.named_parameters()
            if p.requires_grad
        ]
        return {
            ("central_loss", ""): look_of_flow.predicted_loss,
            ("central_point_loss", ""): look_of_flow.loss,
            ("central_sharpness", ""): float(look_of_flow.values[0]),
            ("central_sharpness_error", ""): float(look_of_flow.errors[0]),
            ("central_unstable", ""): float((look_of_flow.covariance.diagonal() > 0).sum()),
            ("central_deviation", ""): look_of_flow.variance**0.5,
            ("central_distance", ""): float(torch.stack(apart).sum().sqrt()),
        }
