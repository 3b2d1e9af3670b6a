"""The largest stable step size predicted by the curvature on gradient flow: 2 / max lambda."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from netassay.curvature.flow import GradientFlow
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Loss

LOOK_STEPS = 10  # steps of the flow between measurements of its sharpness


class Sharpest(NamedTuple):
    """Largest sharpness along gradient flow, its estimated absolute error, and its time.

    `reached` says whether the flow reached the goal; if not, the sharpness is that of the part that was followed.
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
    3.1), if it was followed to the end. The sharpness is measured every `LOOK_STEPS` steps of the flow, of at most
    `most_steps`.
    """
    flow = GradientFlow(model, loss, batches, follower=Follower(tolerance=tolerance, seed=seed))
    point = flow.look()
    top = (float(point.sharpness.values[0]), float(point.sharpness.errors[0]), 0.0)
    while point.loss > goal and flow.steps < most_steps:
        if stop():
            return None
        before = flow.steps
        flow.advance(math.inf, min(LOOK_STEPS, most_steps - flow.steps))
        if flow.steps == before:
            break  # the flow cannot be followed further
        point = flow.look()
        top = max(top, (float(point.sharpness.values[0]), float(point.sharpness.errors[0]), flow.time))
    return Sharpest(*top, flow.time, flow.steps, point.loss, point.loss <= goal)
