"""Gradient flow, the limit of gradient descent for small steps, and its distance from the descent."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netassay.curvature.blocks import Blocks, trainable_parameters
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Loss, evaluate
from netassay.curvature.largest_curvature import Sharpness
from netassay.errors import ModelError

LOOK_STEPS = 20  # Runge-Kutta steps after which the sharpness, and with it the step, is taken anew

Field = Callable[[], Sequence[Tensor]]
"""Gradient at the parameters as they are now."""


def runge_kutta(parameters: Sequence[Tensor], gradient: Field, step: float) -> None:
    """One step of the classical fourth-order method (Kutta 1901) along d theta / dt = -gradient, in place."""
    start = [p.detach().clone() for p in parameters]

    def at(slopes: Sequence[Tensor], part: float) -> Sequence[Tensor]:
        with torch.no_grad():
            for p, begin, slope in zip(parameters, start, slopes, strict=True):
                p.copy_(begin - part * step * slope)
        return gradient()

    k1 = gradient()
    k2 = at(k1, 0.5)
    k3 = at(k2, 0.5)
    k4 = at(k3, 1.0)
    with torch.no_grad():
        for p, begin, a, b, c, d in zip(parameters, start, k1, k2, k3, k4, strict=True):
            p.copy_(begin - step / 6 * (a + 2 * b + 2 * c + d))


class GradientFlow:
    """d theta / dt = -grad L(theta) from the weights of a model, which is copied.

    Steps are alpha / lambda with lambda the sharpness on the way, looked at anew every 20 steps (the method is
    stable below 2.785 / lambda; Cohen et al. 2021, appendix, take alpha = 1). `time` is where the flow is by now,
    `steps` how many Runge-Kutta steps were taken; the error of the weights falls as alpha^4.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        *,
        alpha: float = 1.0,
        follower: Follower | None = None,
        blocks: Literal["layer"] | Blocks | None = None,
    ) -> None:
        if not 0 < alpha < 2.785:
            raise ModelError(
                f"alpha={alpha}: the flow's step is alpha / sharpness, alpha above 0 and below 2.785"
            )
        self.model, self.loss, self.batches = copy.deepcopy(model), loss, batches
        self.alpha, self.blocks = alpha, blocks
        self.follower = Follower() if follower is None else follower
        self.parameters = trainable_parameters(self.model)
        self.time, self.steps = 0.0, 0

    def look(self) -> Sharpness:
        """Loss and sharpness where the flow is."""
        with Curvature(self.model, self.loss, self.batches, blocks=self.blocks) as curvature:
            return self.follower.follow(curvature)

    def advance(self, time: float, seen: Sharpness | None = None) -> None:
        """Goes on to `time`; `seen` is a look at the present place, if there is one.

        Raises ModelError for a time that has passed.
        """
        if time < self.time:
            raise ModelError(f"the flow is at time {self.time:g} and cannot go back to {time:g}")
        taken = 0
        while self.time < time:
            if seen is None or taken == LOOK_STEPS:
                seen, taken = self.look(), 0
            left, rate = time - self.time, float(seen.values[0])
            # as far as rounding goes, a whole number of steps needs no further one
            count = max(1, math.ceil(left * rate / self.alpha - 1e-9)) if rate > 0 else 1
            step = left / count
            runge_kutta(list(self.parameters.values()), self._gradient, step)
            self.time = time if count == 1 else self.time + step
            self.steps, taken = self.steps + 1, taken + 1

    def state(self) -> dict[str, Tensor]:
        """Everything the future depends on."""
        followed = {f"follower/{key}": held for key, held in self.follower.state().items()}
        weights = {f"model/{name}": p.detach() for name, p in self.parameters.items()}
        place = {"time": torch.tensor(self.time, dtype=torch.float64), "steps": torch.tensor(self.steps)}
        return {**weights, **followed, **place}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(tensors[f"model/{name}"])
        self.time, self.steps = float(tensors["time"]), int(tensors["steps"])
        self.follower.load(
            {k.removeprefix("follower/"): held for k, held in tensors.items() if k.startswith("follower/")}
        )

    def _gradient(self) -> Sequence[Tensor]:
        return gradient(self.model, self.loss, self.batches, list(self.parameters.values()))


def gradient(model: nn.Module, loss: Loss, batches: Batches, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Gradient of the full loss, zero where the loss does not reach."""
    total = [torch.zeros_like(p) for p in parameters]
    for one in evaluate(model, loss, batches):
        found = torch.autograd.grad(one.loss, parameters, allow_unused=True)
        for held, slope in zip(total, found, strict=True):
            if slope is not None:
                held.add_(slope.detach(), alpha=one.weight)
    return total


@dataclass(frozen=True)
class FlowPath:
    """Gradient flow at ascending `times`: loss, sharpness with its estimated absolute error, sharpness of each
    block; `weights` of the last time, by parameter.
    """

    times: tuple[float, ...]
    losses: tuple[float, ...]
    sharpness: tuple[float, ...]
    errors: tuple[float, ...]
    blocks: Mapping[str, tuple[float, ...]]
    weights: Mapping[str, Tensor]
    steps: int


def gradient_flow(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    times: Sequence[float],
    alpha: float = 1.0,
    blocks: Literal["layer"] | Blocks | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> FlowPath:
    """Follows gradient flow from the model's weights through ascending `times`; the model stays as it is.

    2 / max(sharpness) is the step size below which descent stays near the flow (Cohen et al. 2021, section 3.1).
    Raises ModelError for times that do not ascend from 0 on, and as `sharpness` does.
    """
    if not times or any(b < a for a, b in zip([0.0, *times], times, strict=False)):
        raise ModelError(f"times={list(times)[:5]}: give at least one, ascending, from 0 on")
    flow = GradientFlow(
        model, loss, batches, alpha=alpha, blocks=blocks, follower=Follower(tolerance=tolerance, seed=seed)
    )
    seen: list[Sharpness] = []
    for time in times:
        flow.advance(time, seen[-1] if seen else None)
        seen.append(flow.look())
    return FlowPath(
        tuple(times),
        tuple(look.loss for look in seen),
        tuple(float(look.values[0]) for look in seen),
        tuple(float(look.errors[0]) for look in seen),
        {name: tuple(float(look.blocks[name].values[0]) for look in seen) for name in seen[0].blocks},
        {name: p.detach() for name, p in flow.parameters.items()},
        flow.steps,
    )
