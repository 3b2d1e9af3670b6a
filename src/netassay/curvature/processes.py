"""Several processes as one: what each measures on its own batches, summed; weights in one piece or in shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.curvature import Curvature
from netassay.curvature.shards import Processes
from netassay.errors import ModelError

_T = TypeVar("_T")


class Summed:
    """The curvature of the loss over the batches of all processes, from that of each: products, gradient and loss.

    Takes the place of the curvature in `eigenpairs`, `Follower` and `Preconditioned`. Every process multiplies the same
    vectors in the same order; an error in one is raised in all. A mean is weighted by the number of terms of each
    process, equally where the loss does not say it and each has one batch.
    """

    def __init__(self, curvature: Curvature, processes: Processes) -> None:
        self.curvature, self.processes = curvature, processes
        everywhere = processes.gathered((curvature.names, curvature.size, curvature.is_mean))
        if any(one != everywhere[0] for one in everywhere):
            raise ModelError("the processes have different parameters or losses; train one model in all of them")
        whole = processes.summed(curvature.terms)
        self._share = curvature.terms / whole if curvature.is_mean else 1.0
        self.loss: float = processes.summed(curvature.loss * self._share)
        self.gradient: Float[Tensor, " P"] = self._sum(curvature.gradient, None)
        self.names, self.sizes, self.blocks = curvature.names, curvature.sizes, curvature.blocks
        self.size, self.dtype, self.device = curvature.size, curvature.dtype, curvature.device

    @property
    def weights(self) -> Any:
        """What weighs the batches of this process."""
        return self.curvature.weights

    def trust(self) -> None:
        """As `Curvature.trust`."""
        self.curvature.trust()

    def block_size(self, name: str) -> int:
        """Number of weights of a block."""
        return self.curvature.block_size(name)

    def product(self, v: Float[Tensor, "P ..."]) -> Float[Tensor, "P ..."]:
        """The matrix times one vector (P,) or the columns of (P, k)."""
        return self._everywhere(v, lambda: self.curvature.product(v))

    def block_product(self, name: str, v: Float[Tensor, "p ..."]) -> Float[Tensor, "p ..."]:
        """A diagonal block times one vector (p,) or the columns of (p, k)."""
        return self._everywhere(v, lambda: self.curvature.block_product(name, v))

    def _everywhere(self, v: Tensor, multiply: Callable[[], Tensor]) -> Tensor:
        try:
            return self._sum(multiply(), None)
        except Exception as cause:
            self._sum(torch.zeros_like(v), cause)
            raise

    def _sum(self, image: Tensor, failure: Exception | None) -> Tensor:
        """One message: the numbers, and behind them how many processes failed."""
        flat = torch.cat([image.reshape(-1) * self._share, image.new_tensor([float(failure is not None)])])
        self.processes.add_up(flat)
        if failure is None and float(flat[-1]) > 0:
            raise ModelError("another process could not multiply; its own message says why")
        return flat[:-1].reshape(image.shape)


def in_all(processes: Processes, make: Callable[[], _T]) -> _T:
    """What `make()` returns, once it did in all processes; where one failed ModelError in the others."""
    failure: Exception | None = None
    made: list[_T] = []
    try:
        made.append(make())
    except Exception as cause:
        failure = cause
    said = processes.gathered(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    for rank, words in enumerate(said):
        if words is not None:
            raise ModelError(f"process {rank} failed: {words}")
    return made[0]
