"""What the curvature on gradient flow says of the largest stable step size: 2 / max lambda."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from netassay.curvature.flow import LOOK_STEPS, GradientFlow
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Loss


class Sharpest(NamedTuple):
    """Largest sharpness seen along gradient flow, its estimated absolute error, and when that was.

    `reached` says whether the flow came to the goal; if not, the sharpness is that of the part that was followed.
    """

    sharpness: float
    error: float
    time: float
    end_time: float
    steps: int
    loss: float
    reached: bool


def sharpest_on_flow(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    goal: float,
    most_steps: int,
    tolerance: float = 1e-3,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Sharpest | None:
    """Follows gradient flow from the model's weights until the loss is at most `goal`; None if stopped.

    2 / the result is the step size below which descent stays near the flow all the way (Cohen et al. 2021, section
    3.1). The sharpness is looked at every `flow.LOOK_STEPS` Runge-Kutta steps of 1 / lambda; at most `most_steps`.
    """
    flow = GradientFlow(model, loss, batches, follower=Follower(tolerance=tolerance, seed=seed))
    seen = flow.look()
    top = (float(seen.values[0]), float(seen.errors[0]), 0.0)
    while seen.loss > goal and flow.steps < most_steps:
        if stop():
            return None
        rate = max(float(seen.values[0]), 1e-6)
        flow.advance(flow.time + min(LOOK_STEPS, most_steps - flow.steps) * flow.alpha / rate, seen)
        seen = flow.look()
        top = max(top, (float(seen.values[0]), float(seen.errors[0]), flow.time))
    return Sharpest(*top, flow.time, flow.steps, seen.loss, seen.loss <= goal)
