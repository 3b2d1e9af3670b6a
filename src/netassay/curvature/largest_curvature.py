"""Sharpness: the largest curvature of the loss, of the whole network and of every block."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.blocks import Blocks
from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.davidson import davidson
from netassay.curvature.eigen import Eigenpairs, lanczos
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.subsample import OutputCurvature, Subsample, subsample
from netassay.errors import ModelError
from netassay.numerics.seeds import given

Method = Literal["lanczos", "davidson"]


@dataclass(frozen=True)
class Sharpness:
    """The k largest eigenvalues of the curvature of the loss at one set of weights.

    `values` (k,) float64, descending; `vectors` (P, k) unit columns over the trainable parameters in
    `named_parameters()` order; `residuals` (k,) ||H v - value v||; `errors` (k,) estimated absolute error of
    each value; `products` matrix-vector products spent; `converged` whether every error of the whole came below the
    tolerance asked for; `blocks` the same for each diagonal block; `loss` the full loss. Of method="davidson",
    `products` are those with all of the data, and `sampled` were spent beside them on a `share` of the examples;
    `searched` is False where larger eigenvalues were not looked for. `cost` sums up the products of the whole, in
    products with all of the data.
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

    @classmethod
    def of(cls, whole: Eigenpairs, blocks: Mapping[str, Eigenpairs], loss: float) -> Sharpness:
        return cls(
            whole.values,
            whole.vectors,
            whole.residuals,
            whole.errors,
            whole.products,
            blocks,
            loss,
            whole.converged,
            whole.sampled,
            whole.share,
            whole.searched,
        )


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
    """The k largest eigenvalues (algebraic) of the Hessian or Gauss-Newton matrix of the loss over all
    batches.

    `loss(output, target)` gives one number a batch, the `reduction` of its terms: "mean" or "sum", by default
    `loss.reduction` or else "mean"; a `loss(model, batch)`, its first parameter named `model`, is one too. Means of
    batches are weighted by their numbers of terms: `weights`, one number a batch or a function of the batch, or the
    loss returns (value, weight), or it is one of `torch.nn`. Of other losses two batches are evaluated alone and
    joined, and refused if no number of terms that is known of them explains both. `batches` is an iterable that can
    be gone over again, of (x, y) or of mappings that hold the labels too. Of a model that returns more than one
    tensor, `head` says which the loss is taken of, by key, index or function. `memory`: bytes for gradient graphs,
    by default half of what is free; those that do not fit are built anew for each product. `blocks`: None,
    "layer" (one per module that owns parameters, weight and bias joined, named as in `named_modules()`) or
    block name -> parameter names; a block (or network) with fewer than k parameters gives its full spectrum.
    `tolerance` is relative to each value, in (0, 1). `start`: an earlier result, or vectors (P, s) for the
    whole, to begin from. `generator` draws the starting vectors (default: a fixed seed; never the global
    one). `max_products` bounds the products of the whole and of each block (default 100 + 30 k); what it
    leaves unconverged has large `errors` and says so (`converged`). `method`: "davidson" saves products by a subsample
    of the examples (see `davidson`) from 400 examples on in a list of at most 16 batches, else, and from a `start`, it
    is "lanczos"; without `search` its result is not checked for a larger eigenvalue. The model is left as it was found.
    Raises ModelError and DataError for what has no well-defined curvature.
    """
    if type(k) is not int or k < 1:
        raise ModelError(f"k={k!r}: the number of eigenvalues must be a whole number, at least 1")
    if not 0 < tolerance < 1:
        raise ModelError(f"tolerance={tolerance}: the relative tolerance must lie strictly between 0 and 1")
    if method not in ("lanczos", "davidson"):
        raise ModelError(f'method={method!r}: allowed are "lanczos" and "davidson"')
    if not search and (method == "lanczos" or start is not None):
        raise ModelError(
            'search=False goes with method="davidson" and no start; Lanczos\'s method always searches'
        )
    generator = given(generator)
    sampling = method == "davidson" and start is None
    output = OutputCurvature()
    with ExitStack() as stack:
        curvature = stack.enter_context(
            Curvature(
                model, loss, batches, kind=kind, blocks=blocks, reduction=reduction, weights=weights,
                head=head, memory=memory, each=output.add if sampling else None,
            )
        )  # fmt: skip
        whole_start, block_starts = _starts(curvature, start)
        sample: Subsample | None = None
        if sampling:
            sample = stack.enter_context(
                subsample(
                    model, loss, batches, curvature, output, generator, kind=kind, blocks=curvature.blocks,
                    reduction=reduction, head=head,
                )
            )  # fmt: skip
        if sample is not None:
            curvature.check_lightly()

        def solve(name: str | None, begin: Tensor | None) -> Eigenpairs:
            product = curvature.product if name is None else partial(curvature.block_product, name)
            size = curvature.size if name is None else curvature.block_size(name)
            options: dict[str, Any] = {
                "k": k, "tolerance": tolerance, "generator": generator, "max_products": max_products,
                "dtype": curvature.dtype, "device": curvature.device,
            }  # fmt: skip
            if sample is None:
                return lanczos(product, size, start=begin, **options)
            return davidson(product, sample.of(name), size, share=sample.share, search=search, **options)

        whole = solve(None, whole_start)
        parts = {name: solve(name, block_starts.get(name)) for name in curvature.blocks}
        return Sharpness.of(whole, parts, curvature.loss)


def _starts(
    curvature: Curvature, start: Sharpness | Tensor | None
) -> tuple[Tensor | None, dict[str, Tensor]]:
    if start is None:
        return None, {}
    whole = start.vectors if isinstance(start, Sharpness) else start
    blocks = {n: p.vectors for n, p in start.blocks.items()} if isinstance(start, Sharpness) else {}
    blocks = {name: vectors for name, vectors in blocks.items() if name in curvature.blocks}
    sizes = [("the network", whole, curvature.size)]
    sizes += [(f"block {name!r}", vectors, curvature.block_size(name)) for name, vectors in blocks.items()]
    for what, vectors, size in sizes:
        if vectors.ndim not in (1, 2) or vectors.shape[0] != size or not bool(vectors.isfinite().all()):
            raise ModelError(
                f"start has vectors of shape {tuple(vectors.shape)} for {what}, which has {size} parameters; "
                f"give finite vectors ({size},) or ({size}, s)"
            )
    return whole.to(curvature.gradient), {
        name: vectors.to(curvature.gradient) for name, vectors in blocks.items()
    }
