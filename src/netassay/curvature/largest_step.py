"""The largest step that the curvature at the present weights allows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.largest_curvature import Sharpness, sharpness
from netassay.curvature.model import Blocks
from netassay.curvature.thresholds import threshold
from netassay.errors import ModelError


@dataclass(frozen=True)
class LargestStep:
    """A largest stable step size, and the curvature that sets it.

    Attributes:
        value: The step size; infinite where no curvature is positive.
        error: Its estimated absolute error; infinite where the error of the curvature does not exclude zero.
        sharpness: The curvature that sets it, weight decay included.
        sharpness_error: Its estimated absolute error.
        products: Products spent.

    Example:
        >>> import netassay
        >>> netassay.LargestStep(value=0.5, error=0.0, sharpness=4.0, sharpness_error=0.0, products=9).value
        0.5
    """

    value: float
    error: float
    sharpness: float
    sharpness_error: float
    products: int


@dataclass(frozen=True)
class StepSizes:
    """The largest stable step size of a network, and of each layer if it alone were trained.

    Attributes:
        network: Of the entire network.
        layers: Layer name -> its own.
        loss: Loss over all batches.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> isinstance(netassay.step_size(model, torch.nn.functional.mse_loss, [(x, y)]), netassay.StepSizes)
        True
    """

    network: LargestStep
    layers: Mapping[str, LargestStep]
    loss: float

    @property
    def whole(self) -> LargestStep:
        """Deprecated name of `network`."""
        warnings.warn("StepSizes.whole is called network now", DeprecationWarning, stacklevel=2)
        return self.network

    def plot(self) -> Any:
        """The largest step size of the whole and of each layer with its error, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)


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

    2 / lambda for gradient descent, 2 (1 + b) / lambda with heavy-ball momentum b, and 2 (1 + b) / ((1 + 2 b) lambda)
    with Nesterov's; lambda is the largest eigenvalue of the Hessian of the loss over all batches plus `weight_decay`.
    The same for each layer, from its own diagonal block, so never smaller than that of the entire network. It holds at
    these weights: a network sharpens as it trains, and one that starts above may descend to where the curvature is
    lower.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        momentum: Momentum b (0 to below 1).
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Weight decay (0 or more).
        blocks: "layer", None, or block name -> parameter names.
        tolerance: Relative tolerance of the curvature (0 to 1).
        generator: Draws the starting vectors, as for `sharpness`.
        reduction: How the loss reduces its terms, as for `sharpness`.
        max_products: Maximum number of products for each matrix, as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Returns:
        The largest stable step size of the network and of each layer.

    Raises:
        ModelError: For a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Cohen, Kaur, Li, Kolter, Talwalkar (2021), appendix B.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> steps = netassay.step_size(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> abs(steps.network.value * steps.network.sharpness - 2) < 1e-9
        True
    """
    if not 0 <= momentum < 1:
        raise ModelError(f"momentum={momentum}: momentum is from 0 to below 1")
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise ModelError(f"weight_decay={weight_decay}: weight decay is a finite number from 0 on")
    result = sharpness(
        model,
        loss,
        batches,
        blocks=blocks,
        tolerance=tolerance,
        generator=generator,
        reduction=reduction,
        max_products=max_products,
        weights=weights,
        head=head,
        memory=memory,
    )
    # the threshold falls as one over the step size, so the largest step is the threshold at 1 over the curvature
    limit = threshold("nesterov" if nesterov else "polyak", 1.0, momentum=momentum)
    layers = {name: _largest(pairs, limit, weight_decay) for name, pairs in result.blocks.items()}
    return StepSizes(_largest(result, limit, weight_decay), layers, result.loss)


def _largest(pairs: Sharpness | Eigenpairs, limit: float, weight_decay: float) -> LargestStep:
    value, error = float(pairs.values[0]) + weight_decay, float(pairs.errors[0])
    largest = limit / value if value > 0 else math.inf
    off = limit / (value - error) - largest if value > error else math.inf
    return LargestStep(largest, off, value, error, pairs.products)
