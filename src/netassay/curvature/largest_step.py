"""The largest step that the curvature at the present weights allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from netassay.curvature.blocks import Blocks
from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.largest_curvature import Sharpness, sharpness
from netassay.curvature.thresholds import threshold
from netassay.errors import ModelError


@dataclass(frozen=True)
class LargestStep:
    """`value` is the largest stable step size, infinite where no curvature is positive.

    `error` is its estimated absolute error, infinite where the error of the curvature does not exclude zero.

    `sharpness` and `sharpness_error` are the curvature that sets it, weight decay included; `products` what it cost.
    """

    value: float
    error: float
    sharpness: float
    sharpness_error: float
    products: int


@dataclass(frozen=True)
class StepSizes:
    """The largest stable step size of the whole network, and of each layer if it alone were trained; `loss` there."""

    whole: LargestStep
    layers: Mapping[str, LargestStep]
    loss: float


def step_size(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    blocks: Literal["layer"] | Blocks | None = "layer",
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    max_products: int | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
) -> StepSizes:
    """The step size at which the steepest direction of the loss, taken as a quadratic, turns from stable to unstable.

    2 / lambda for gradient descent, 2 (1 + b) / lambda with heavy-ball `momentum` b (0 to below 1), and
    2 (1 + b) / ((1 + 2 b) lambda) with `nesterov` (Cohen et al. 2021, appendix B); lambda is the largest eigenvalue of
    the Hessian of the loss over all batches plus `weight_decay` (from 0). Of each layer likewise, from its own diagonal
    block, so never smaller than that of the whole. It holds at these weights: a network sharpens as it trains, and one
    that starts above may fall to where the curvature is lower. Other arguments and errors as for `sharpness`.
    """
    if not 0 <= momentum < 1:
        raise ModelError(f"momentum={momentum}: momentum is from 0 to below 1")
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise ModelError(f"weight_decay={weight_decay}: weight decay is a finite number from 0 on")
    found = sharpness(
        model, loss, batches, blocks=blocks, tolerance=tolerance, generator=generator, reduction=reduction,
        max_products=max_products, weights=weights, head=head, memory=memory,
    )  # fmt: skip
    # the threshold falls as one over the step size, so the largest step is the threshold at 1 over the curvature
    limit = threshold("nesterov" if nesterov else "polyak", 1.0, momentum=momentum)
    layers = {name: _largest(pairs, limit, weight_decay) for name, pairs in found.blocks.items()}
    return StepSizes(_largest(found, limit, weight_decay), layers, found.loss)


def _largest(pairs: Sharpness | Eigenpairs, limit: float, weight_decay: float) -> LargestStep:
    value, error = float(pairs.values[0]) + weight_decay, float(pairs.errors[0])
    largest = limit / value if value > 0 else math.inf
    off = limit / (value - error) - largest if value > error else math.inf
    return LargestStep(largest, off, value, error, pairs.products)
