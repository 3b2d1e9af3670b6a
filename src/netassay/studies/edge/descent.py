"""Full-batch gradient descent that looks at its own curvature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netassay.errors import NotFinite
from netassay.numerics.blocks import layer_blocks
from netassay.numerics.curvature import Curvature
from netassay.numerics.following import Follower
from netassay.studies.edge import quantities
from netassay.studies.edge.data import Data
from netassay.studies.edge.losses import Loss
from netassay.training import Diverged, Every, Metric


class Descent:
    """theta <- theta - eta grad L(theta) on the whole training set; a `training.Trainee`.

    Loss and gradient norms are measured at every step, everything else where `every` is due. There the gradient and
    all Hessian products come from one kept graph, so that the step's gradient is paid once.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        *,
        step_size: float,
        every: Every,
        follower: Follower,
        layers: bool = True,
    ) -> None:
        self.model, self.loss, self.data = model, loss, data
        self.step_size, self.every, self.follower = step_size, every, follower
        self.blocks: Literal["layer"] | None = "layer" if layers else None
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.layers = layer_blocks(model)
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.gradient: dict[str, Tensor] = {}

    def measure(self, step: int) -> Mapping[Metric, float]:
        loss = self.loss(self.model(self.data.train.inputs), self.data.train.labels)
        if not math.isfinite(loss.item()):
            return {"loss": loss.item()}
        if self.every.due(step):
            try:
                seen = self._look(step)
            except NotFinite as cause:
                raise Diverged({"loss": loss.item()}, str(cause)) from None
        else:
            seen = {}
            gradient = torch.autograd.grad(loss, list(self.parameters.values()))
            self.gradient = dict(zip(self.parameters, gradient, strict=True))
        return {"loss": loss.item()} | quantities.norms("gradient_norm", self.gradient, self.layers) | seen

    def _look(self, step: int) -> dict[Metric, float]:
        """Curvature, performance and norms at the weights of `step`; leaves the gradient for `advance`."""
        batches = [(self.data.train.inputs, self.data.train.labels)]
        with Curvature(self.model, self.loss, batches, blocks=self.blocks) as curvature:
            sharpness = self.follower.follow(curvature)
        sizes = [p.numel() for p in self.parameters.values()]
        pieces = curvature.gradient.split(sizes)
        self.gradient = {
            name: g.view_as(p) for (name, p), g in zip(self.parameters.items(), pieces, strict=True)
        }
        values = {name: p.detach() for name, p in self.parameters.items()}
        moved = {name: value - self.start[name] for name, value in values.items()}
        return (
            quantities.curvature(sharpness, self.step_size, values, self.layers)
            | quantities.performance(self.model, self.loss, self.data.train, self.data.test)
            | quantities.norms("parameter_norm", values, self.layers)
            | quantities.norms("distance", moved, self.layers)
        )

    @torch.no_grad()
    def advance(self) -> None:
        for name, p in self.parameters.items():
            # torch refuses a factor that the arithmetic cannot hold; the largest it can hold overflows as well
            p.sub_(self.gradient[name], alpha=min(self.step_size, torch.finfo(p.dtype).max))

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        groups = {"model": self.model.state_dict(), "start": self.start, "follower": self.follower.state()}
        return {
            f"{group}/{name}": t.detach() for group, held in groups.items() for name, t in held.items()
        }, {}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "start": {}, "follower": {}}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups[group][name] = tensor
        self.model.load_state_dict(groups["model"])
        self.start = {name: tensor.to(self.start[name]) for name, tensor in groups["start"].items()}
        self.follower.load(groups["follower"])
