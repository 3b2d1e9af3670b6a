"""Training that measures its own curvature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netassay.curvature.blocks import layer_blocks
from netassay.curvature.combined import Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.largest_curvature import Sharpness
from netassay.errors import NotFinite
from netassay.studies.edge import quantities
from netassay.studies.edge.data import Data
from netassay.studies.edge.networks import Loss
from netassay.studies.edge.readers import Look, Reader
from netassay.studies.edge.stepping import Optimiser
from netassay.training import Diverged, Every, Metric


class Descent:
    """A network in training by an optimiser; a `training.Trainee`.

    Loss and gradient norms of the whole training set are measured at every step (under mini-batches the norms only
    with the curvature), everything else when `every` is due. Then the gradient and all Hessian products come from one
    graph, so the step's gradient is computed once. `preconditioned` follows P^-1/2 H P^-1/2 if the optimiser has a
    preconditioner.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        *,
        optimiser: Optimiser,
        every: Every,
        follower: Follower,
        preconditioned: Follower | None = None,
        readers: Sequence[Reader] = (),
        layers: bool = True,
    ) -> None:
        self.model, self.loss, self.data = model, loss, data
        self.optimiser, self.every, self.follower = optimiser, every, follower
        self.preconditioned, self.readers = preconditioned, readers
        self.blocks: Literal["layer"] | None = "layer" if layers else None
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.layers = layer_blocks(model)
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.gradient: dict[str, Tensor] = {}

    def measure(self, step: int) -> Mapping[Metric, float]:
        due = self.every.due(step)
        with torch.set_grad_enabled(due or self.optimiser.every_step):
            loss = self.loss(self.model(self.data.train.inputs), self.data.train.labels)
        if not math.isfinite(loss.item()):
            return {"loss": loss.item()}
        if due:
            try:
                metrics = self._look(step)
            except NotFinite as cause:
                raise Diverged({"loss": loss.item()}, str(cause)) from None
        elif self.optimiser.every_step:
            metrics = {}
            gradient = torch.autograd.grad(loss, list(self.parameters.values()))
            self.gradient = dict(zip(self.parameters, gradient, strict=True))
        else:
            return {"loss": loss.item()}
        left_out = self.data.left_out if step == 0 else {}
        return (
            {"loss": loss.item()}
            | {("left_out", reason): float(count) for reason, count in left_out.items()}
            | quantities.norms("gradient_norm", self.gradient, self.layers)
            | metrics
        )

    def _look(self, step: int) -> dict[Metric, float]:
        """Curvature, performance and norms at the weights of `step`; leaves the gradient for `advance`."""
        batches = [(self.data.train.inputs, self.data.train.labels)]
        values = {name: p.detach() for name, p in self.parameters.items()}
        moved = {name: value - self.start[name] for name, value in values.items()}
        with Curvature(self.model, self.loss, batches, blocks=self.blocks) as curvature:
            sharpness = self.follower.follow(curvature)
            self._keep_gradient(curvature)
            scaled = self._preconditioned(curvature)
            further: dict[Metric, float] = {}
            if self.readers:
                path = torch.cat([m.reshape(-1) for m in moved.values()])
                look = Look(step, self.model, self.loss, self.data.train, curvature, sharpness, path, self.layers)
                for reader in self.readers:
                    further |= reader.read(look)
        return (
            quantities.curvature(sharpness, self._edge_ratio, values, self.layers)
            | ({} if scaled is None else quantities.preconditioned(scaled, self._edge_ratio))
            | quantities.performance(self.model, self.loss, self.data.train, self.data.test)
            | quantities.norms("parameter_norm", values, self.layers)
            | quantities.norms("distance", moved, self.layers)
            | further
        )

    def _keep_gradient(self, curvature: Curvature) -> None:
        pieces = curvature.gradient.split([p.numel() for p in self.parameters.values()])
        self.gradient = {name: g.view_as(p) for (name, p), g in zip(self.parameters.items(), pieces, strict=True)}

    def _preconditioned(self, curvature: Curvature) -> Sharpness | None:
        diagonal = self.optimiser.preconditioner(self.gradient)
        if diagonal is None or self.preconditioned is None:
            return None
        return self.preconditioned.follow(Preconditioned(curvature, diagonal))

    def _edge_ratio(self, value: float) -> float:
        norm = quantities.norms("gradient_norm", self.gradient, {})[("gradient_norm", "")]
        return self.optimiser.edge_ratio(value, norm)

    def advance(self) -> None:
        self.optimiser.advance(self.gradient, self._gradient_of)

    def _gradient_of(self, examples: Tensor | None) -> dict[str, Tensor]:
        """Gradient at the current weights, of some of the training examples or of all."""
        x, y = self.data.train
        if examples is not None:
            x, y = x[examples], y[examples]
        slopes = torch.autograd.grad(self.loss(self.model(x), y), list(self.parameters.values()))
        return dict(zip(self.parameters, slopes, strict=True))

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        groups: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "start": self.start,
            "follower": self.follower.state(),
            "optimiser": self.optimiser.state(),
        }
        if self.preconditioned is not None:
            groups["preconditioned"] = self.preconditioned.state()
        groups |= {reader.name: reader.state() for reader in self.readers}
        return {f"{group}/{name}": t.detach() for group, tensors in groups.items() for name, t in tensors.items()}, {
            "data": self.data.digest()
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.data.require(facts["data"])
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = tensor
        self.model.load_state_dict(groups["model"])
        self.start = {name: tensor.to(self.start[name]) for name, tensor in groups["start"].items()}
        self.follower.load(groups["follower"])
        self.optimiser.load(groups.get("optimiser", {}))
        if self.preconditioned is not None:
            self.preconditioned.load(groups["preconditioned"])
        for reader in self.readers:
            reader.load(groups.get(reader.name, {}))
