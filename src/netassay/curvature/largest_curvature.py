"""Sharpness: the largest curvature of the loss, for the entire network and for every block."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.davidson import davidson
from netassay.curvature.eigen import Eigenpairs, lanczos
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.model import Blocks
from netassay.curvature.subsample import OutputCurvature, Subsample, subsample
from netassay.errors import ModelError
from netassay.numerics.devices import generator_or_default

Method = Literal["lanczos", "davidson"]


@dataclass(frozen=True)
class Sharpness:
    """The k largest eigenvalues of the curvature of the loss at one set of weights.

    Attributes:
        values: (k,) float64, descending.
        vectors: (P, k) unit columns over the trainable parameters in `named_parameters()` order.
        residuals: (k,) ||H v - value v||.
        errors: (k,) estimated absolute error of each value.
        products: Matrix-vector products spent.
        blocks: The same for each diagonal block.
        loss: Loss over all batches.
        converged: Whether every error came below the tolerance.
        sampled: Products with a subsample of the examples, of method="davidson".
        share: Cost of one of those, as a share of a product with all examples (0 to 1).
        searched: Whether larger eigenvalues were searched for from a random vector.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> result = netassay.sharpness(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> isinstance(result, netassay.Sharpness), result.vectors.shape
        (True, torch.Size([4, 1]))
    """

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, "P k"]
    residuals: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    products: int
    blocks: Mapping[str, Eigenpairs]
    loss: float
    converged: bool = False
    sampled: int = 0
    share: float = 0.0
    searched: bool = True

    @property
    def cost(self) -> float:
        return self.products + self.share * self.sampled

    def plot(self) -> Any:
        """The eigenvalues of the whole and of each block with their errors, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @classmethod
    def of(cls, network: Eigenpairs, blocks: Mapping[str, Eigenpairs], loss: float) -> Sharpness:
        return cls(**vars(network), blocks=blocks, loss=loss)


def sharpness(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    k: int = 1,
    blocks: Literal["layer"] | Blocks | None = None,
    kind: Kind = "hessian",
    tolerance: float = 1e-3,
    start: Sharpness | Float[Tensor, "P ..."] | None = None,
    generator: torch.Generator | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    max_products: int | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
    method: Method = "lanczos",
    search: bool = True,
) -> Sharpness:
    """The k largest eigenvalues (algebraic) of the Hessian or Gauss-Newton matrix of the loss over all batches.

    Means of batches are weighted by their numbers of terms. Where these are not known (see `weights`), two batches are
    evaluated alone and joined, and the loss is refused if no known number of terms explains both. The model is left
    unchanged.

    Args:
        model: Any module.
        loss: loss(output, target) gives one number for each batch, the `reduction` of its terms; loss(model, batch),
            its first parameter named `model`, is allowed too.
        batches: An iterable of (x, y), or of mappings that hold the labels too, that can be iterated repeatedly.
        k: Number of eigenvalues (1 or more).
        blocks: None, "layer" (one for each module that owns parameters, weight and bias joined, named as in
            `named_modules()`) or block name -> parameter names. A block or network with fewer than k parameters gives
            its full spectrum.
        kind: "hessian" or "ggn" (Gauss-Newton).
        tolerance: Relative tolerance of each value (0 to 1).
        start: An earlier result, or vectors (P, s) for all parameters, to begin from.
        generator: Draws the starting vectors; by default with a fixed seed, never the global one.
        reduction: "mean" or "sum"; by default `loss.reduction`, else "mean".
        max_products: Maximum number of products for all parameters and for each block; by default 100 + 30 k. What it
            leaves unconverged has large `errors` and says so (`converged`).
        weights: Number of terms of each batch, as one number or a function of the batch. Not needed where the loss
            returns (value, weight) or is one of `torch.nn`.
        head: Of a model that returns several tensors, the one that the loss is taken of: key, index or function.
        memory: Bytes for gradient graphs; by default half of what is free. Those that do not fit are rebuilt for each
            product.
        method: "lanczos", or "davidson", which saves products by a subsample of the examples: from 400 examples on, in
            a list of at most 16 batches. For fewer examples, other batches, and from a `start` it is "lanczos".
        search: Whether "davidson" searches for larger eigenvalues that the subsample does not show. Without it the
            result costs 3 to 4 products less and is not known to be the largest.

    Returns:
        Eigenvalues, eigenvectors, residuals and estimated errors, and the same for each block.

    Raises:
        ModelError: For a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Pearlmutter (1994) for Hessian products; Lanczos (1950); Cohen, Kaur, Li, Kolter, Talwalkar (2021) and Fox
        (2023) for the sharpness of a network and of its layers; Sleijpen and van der Vorst (1996) for "davidson".

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        >>> x, y = torch.randn(20, 3), torch.randn(20, 2)
        >>> result = netassay.sharpness(model, torch.nn.functional.mse_loss, [(x, y)], k=2, blocks="layer")
        >>> result.values.shape, sorted(result.blocks), result.converged
        (torch.Size([2]), ['0', '2'], True)
    """
    if type(k) is not int or k < 1:
        raise ModelError(f"k={k!r}: the number of eigenvalues must be a whole number, at least 1")
    if not 0 < tolerance < 1:
        raise ModelError(f"tolerance={tolerance}: the relative tolerance must lie strictly between 0 and 1")
    if method not in ("lanczos", "davidson"):
        raise ModelError(f'method={method!r}: allowed are "lanczos" and "davidson"')
    if not search and (method == "lanczos" or start is not None):
        raise ModelError('search=False goes with method="davidson" and no start; Lanczos\'s method always searches')
    generator = generator_or_default(generator)
    sampling = method == "davidson" and start is None
    output = OutputCurvature()
    with ExitStack() as stack:
        curvature = stack.enter_context(
            Curvature(
                model,
                loss,
                batches,
                kind=kind,
                blocks=blocks,
                reduction=reduction,
                weights=weights,
                head=head,
                memory=memory,
                each=output.add if sampling else None,
            )
        )
        whole_start, block_starts = _starts(curvature, start)
        sample: Subsample | None = None
        if sampling:
            sample = stack.enter_context(
                subsample(
                    model,
                    loss,
                    batches,
                    curvature,
                    output,
                    _copy(generator),
                    kind=kind,
                    blocks=curvature.blocks,
                    reduction=reduction,
                    head=head,
                )
            )
        if sample is not None:
            curvature.check_lightly()

        def solve(name: str | None, begin: Tensor | None) -> Eigenpairs:
            product = curvature.product if name is None else partial(curvature.block_product, name)
            size = curvature.size if name is None else curvature.block_size(name)
            options: dict[str, Any] = {
                "k": k,
                "tolerance": tolerance,
                "generator": generator,
                "max_products": max_products,
                "dtype": curvature.dtype,
                "device": curvature.device,
            }
            if sample is None:
                return lanczos(product, size, start=begin, **options)
            cheap = sample.of(name)
            return davidson(product, cheap.product, size, share=cheap.share, search=search, **options)

        full = solve(None, whole_start)
        parts = {name: solve(name, block_starts.get(name)) for name in curvature.blocks}
        return Sharpness.of(full, parts, curvature.loss)


def _copy(generator: torch.Generator) -> torch.Generator:
    """A copy in the same state, so that all methods begin from the same vector."""
    copy = torch.Generator(generator.device)
    copy.set_state(generator.get_state())
    return copy


def _starts(curvature: Curvature, start: Sharpness | Tensor | None) -> tuple[Tensor | None, dict[str, Tensor]]:
    if start is None:
        return None, {}
    full = start.vectors if isinstance(start, Sharpness) else start
    blocks = {n: p.vectors for n, p in start.blocks.items()} if isinstance(start, Sharpness) else {}
    blocks = {name: vectors for name, vectors in blocks.items() if name in curvature.blocks}
    sizes = [("the network", full, curvature.size)]
    sizes += [(f"block {name!r}", vectors, curvature.block_size(name)) for name, vectors in blocks.items()]
    for subject, vectors, size in sizes:
        if vectors.ndim not in (1, 2) or vectors.shape[0] != size or not bool(vectors.isfinite().all()):
            raise ModelError(
                f"start has vectors of shape {tuple(vectors.shape)} for {subject}, which has {size} parameters; "
                f"give finite vectors ({size},) or ({size}, s)"
            )
    return full.to(curvature.gradient), {name: vectors.to(curvature.gradient) for name, vectors in blocks.items()}
