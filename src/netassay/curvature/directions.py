"""Curvature along given directions: the gradient's share in the leading eigenvectors, directional sharpness,
and the same for mini-batches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import Product, unit_of
from netassay.curvature.forward import Batches, Loss
from netassay.curvature.symmetric import Symmetric
from netassay.errors import ModelError

_TINY = 1e-300


class BatchSharpness(NamedTuple):
    """Mean of the batch sharpness over mini-batches.

    Attributes:
        value: The mean.
        error: Its standard error; infinite for a single batch.
        batches: Number of mini-batches.

    Example:
        >>> from netassay.curvature import BatchSharpness
        >>> BatchSharpness(12.5, 0.3, 64).value
        12.5
    """

    value: float
    error: float
    batches: int


def alignment(vectors: Float[Tensor, "P k"], gradient: Float[Tensor, " P"]) -> Float[Tensor, " k"]:
    """Squared cosine, 0 to 1, of the gradient with each unit column; float64. They sum to the gradient's share
    in the subspace (Gur-Ari, Roberts, Dyer 2018). All zero for a gradient of zero.
    """
    g = gradient.double()
    return (vectors.T.double() @ g).square() / g.square().sum().clamp_min(_TINY)


def directional(product: Product, direction: Float[Tensor, " P"]) -> float:
    """d'Hd / d'd, the curvature along a direction, for one product; NaN along zero.

    Along the gradient it is the directional sharpness (Pan and Li 2022, for the direction of any step): a step
    of gradient descent lowers the quadratic part of the loss exactly if it is below 2 / eta. Its error is that
    of the arithmetic.
    """
    direction = direction / unit_of(direction)
    scale = torch.linalg.vector_norm(direction)
    if not float(scale) > 0:
        return math.nan
    unit = direction / scale
    return float(unit.double() @ product(unit).double())


def directional_sharpness(curvature: Symmetric, gradient: Float[Tensor, " P"]) -> float:
    """g'Hg / g'g of a curvature and its gradient."""
    return directional(curvature.product, gradient)


def batch_sharpness(model: nn.Module, loss: Loss, batches: Batches) -> BatchSharpness:
    """Mean over mini-batches B of g_B' H_B g_B / ||g_B||^2, gradient and Hessian of the batch's own loss.

    The expected directional curvature of the mini-batches, which hovers at 2 / eta under stochastic gradient descent
    while the sharpness of the full loss stays below. With momentum the level differs. Draw the batches as in
    training: the standard error assumes independent ones. One gradient graph and one product for each batch.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Mini-batches of (x, y).

    Returns:
        The mean, its standard error, and the number of batches.

    Raises:
        ModelError: For a module or loss without well-defined curvature, and where every gradient is zero.
        DataError: For batches that do not fit the loss.

    Source:
        Andreyev, Beneventano (2024), arXiv 2412.20553, versions from 2025 on: the mean of the ratio, not the ratio of
        the means; the first version took the mean of the batches' largest eigenvalues instead.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> batches = [(torch.randn(5, 3), torch.randn(5, 1)) for _ in range(4)]
        >>> netassay.batch_sharpness(model, torch.nn.functional.mse_loss, batches).batches
        4
    """
    ratios = []
    for i, pair in enumerate(batches):
        with Curvature(model, loss, [pair]) as curvature:
            if i:
                curvature.trust()
            value = directional(curvature.product, curvature.gradient)
        if not math.isnan(value):
            ratios.append(value)
    if not ratios:
        raise ModelError("the gradient of every batch is zero, or there is no batch: nothing to average")
    values = torch.tensor(ratios, dtype=torch.float64)
    spread = float(values.std()) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.inf
    return BatchSharpness(float(values.mean()), spread, len(ratios))
