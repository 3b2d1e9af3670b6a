"""A curvature as an operator, known only by its products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.model import layer_blocks
from netassay.errors import ModelError

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


class HessianOperator:
    """A symmetric curvature matrix, known only by products: `operator @ v` for v (P,) or (P, k)."""

    def __init__(self, curvature: Curvature, block: str | None = None) -> None:
        self.curvature = curvature
        self._name = block
        size = curvature.size if block is None else curvature.block_size(block)
        self.shape = (size, size)
        self.dtype = curvature.dtype

    def __matmul__(self, v: Float[Tensor, "P ..."]) -> Float[Tensor, "P ..."]:
        return self.curvature.product(v) if self._name is None else self.curvature.block_product(self._name, v)

    def to_scipy(self) -> LinearOperator:
        """The same matrix as a `scipy.sparse.linalg.LinearOperator` on NumPy arrays of the weights' dtype."""
        import numpy as np
        from scipy.sparse.linalg import LinearOperator

        def apply(v: np.ndarray) -> np.ndarray:
            return (self @ torch.from_numpy(np.ascontiguousarray(v)).to(self.curvature.gradient)).cpu().numpy()

        dtype = np.dtype(str(self.dtype).removeprefix("torch."))
        # of a symmetric real matrix the adjoint is the matrix itself
        return LinearOperator(self.shape, matvec=apply, rmatvec=apply, matmat=apply, rmatmat=apply, dtype=dtype)


def hessian_operator(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    kind: Kind = "hessian",
    block: str | Sequence[str] | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
) -> HessianOperator:
    """The Hessian (or Gauss-Newton matrix) of the loss over all batches as a matrix-free operator.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        kind: "hessian" or "ggn" (Gauss-Newton).
        block: None for all parameters, a module name for that layer's diagonal block, or a list of parameter names.
        reduction: How the loss reduces its terms, as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Returns:
        A symmetric operator (P, P), P being the number of parameters; `operator @ v` takes vectors (P,) or (P, s), and
        `to_scipy` gives SciPy's form.

    Raises:
        ModelError: For a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Pearlmutter (1994) for Hessian products; Schraudolph (2002) for Gauss-Newton products.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> operator = netassay.hessian_operator(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> (operator @ torch.ones(4)).shape
        torch.Size([4])
    """
    of_blocks = partial(
        Curvature, model, loss, batches, kind=kind, reduction=reduction, weights=weights, head=head, memory=memory
    )
    if block is None:
        return HessianOperator(of_blocks())
    name = block if isinstance(block, str) else "block"
    if isinstance(block, str):
        layers = layer_blocks(model)
        if block not in layers:
            raise ModelError(f"there is no layer {block!r}; layers with trainable parameters: {', '.join(layers)}")
        members: Sequence[str] = layers[block]
    else:
        members = block
    return HessianOperator(of_blocks(blocks={name: members}), name)
