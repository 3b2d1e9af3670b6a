"""The trace of a symmetric matrix known only by products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.eigen import Product, require_vectors
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.model import Blocks
from netassay.curvature.symmetric import Symmetric, whole_and_blocks
from netassay.errors import ModelError
from netassay.numerics.devices import generator_or_default

LEAST_PRODUCTS = 6  # two for the range, two for its image, two for a standard error


@dataclass(frozen=True)
class Trace:
    """Estimate of a trace.

    Attributes:
        value: The estimate.
        error: Its standard error; 0 where the trace is exact.
        products: Matrix-vector products spent.
        blocks: The same for each diagonal block.
        converged: Whether the error is within the tolerance.

    Source:
        Hutchinson (1989).

    Example:
        >>> import netassay
        >>> netassay.Trace(value=3.0, error=0.1, products=30).blocks
        {}
    """

    value: float
    error: float
    products: int
    blocks: Mapping[str, Trace] = field(default_factory=dict)
    converged: bool = False

    def plot(self) -> Any:
        """The trace of the whole and of each block with two standard errors, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)


def trace(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    products: int = 30,
    tolerance: float = 0.1,
    blocks: Literal["layer"] | Blocks | None = None,
    kind: Kind = "hessian",
    generator: torch.Generator | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
) -> Trace:
    """Trace of the Hessian or Gauss-Newton matrix of the loss over all batches, and of each block.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        products: Products to spend on all parameters and on each block (6 or more); with as many as there are
            parameters the trace is exact.
        tolerance: Standard error, relative to the value, at which the trace counts as converged.
        blocks: None, "layer", or block name -> parameter names.
        kind: "hessian" or "ggn" (Gauss-Newton).
        generator: Draws the probes; by default with a fixed seed.
        reduction: How the loss reduces its terms, as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Returns:
        The trace of all parameters and, in `blocks`, of each block.

    Raises:
        ModelError: For a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Hutchinson (1989); Meyer, Musco, Musco, Woodruff (2021), Hutch++.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> netassay.trace(model, torch.nn.functional.mse_loss, [(x, y)]).error
        0.0
    """
    generator = generator_or_default(generator)
    with Curvature(
        model, loss, batches, kind=kind, blocks=blocks, reduction=reduction, weights=weights, head=head, memory=memory
    ) as curvature:
        return curvature_trace(curvature, products=products, tolerance=tolerance, generator=generator)


def curvature_trace(
    curvature: Symmetric, *, products: int, tolerance: float = 0.1, generator: torch.Generator
) -> Trace:
    """`hutchplusplus` of a curvature and of each of its blocks."""
    full, parts = whole_and_blocks(
        curvature, hutchplusplus, products=products, tolerance=tolerance, generator=generator
    )
    return replace(full, blocks=parts)


def hutchplusplus(
    product: Product,
    size: int,
    *,
    products: int = 30,
    tolerance: float = 0.1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Trace:
    """Hutch++ (Meyer, Musco, Musco, Woodruff 2021, algorithm 1) with random signs.

    A third of the products finds the range of the matrix, a third is spent on the exact trace within it, a
    third on Hutchinson's estimate outside, whose spread gives the standard error. Where `products` reach
    `size` the diagonal is read off. Raises ModelError for fewer than 6 products, and for more vectors than fit.
    """
    if not (isinstance(products, int) and products >= LEAST_PRODUCTS):
        raise ModelError(f"products={products}: a trace needs a whole number of at least {LEAST_PRODUCTS}")
    if size <= products:
        return Trace(_dense_trace(product, size, dtype, device), 0.0, size, converged=True)
    generator = generator_or_default(generator)
    third = products // 3
    # signs, their images and the basis made from them are in memory together
    require_vectors(
        3 * third,
        size,
        dtype,
        torch.device(device),
        lambda fit: "about as many as `products` may be; ask for fewer",
    )

    def signs(count: int) -> Tensor:
        bits = torch.randint(0, 2, (count, size), generator=generator, device=generator.device, dtype=torch.int8)
        return (2 * bits - 1).to(device=device, dtype=dtype)

    images = torch.stack([product(v) for v in signs(third)])  # (third, n)
    basis, _ = torch.linalg.qr(images.T)  # (n, third)
    inside = sum(_form(product, v) for v in basis.T)
    outside = signs(products - 2 * third)
    outside = outside - (outside @ basis) @ basis.T
    samples = torch.tensor([_form(product, v) for v in outside], dtype=torch.float64)
    error = float(samples.std()) / math.sqrt(len(samples))
    value = inside + float(samples.mean())
    return Trace(value, error, products, converged=error <= tolerance * abs(value))


def _form(product: Product, v: Float[Tensor, " n"]) -> float:
    """v'Av, summed in double precision."""
    return float(v.double() @ product(v).double())


def _dense_trace(product: Product, size: int, dtype: torch.dtype, device: torch.device | str) -> float:
    total = 0.0
    for i in range(size):
        unit = torch.zeros(size, dtype=dtype, device=device)
        unit[i] = 1
        total += float(product(unit)[i])
    return total
