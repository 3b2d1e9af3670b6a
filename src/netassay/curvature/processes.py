"""Several processes as one: the sums of what each measures on its own batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.curvature import Curvature
from netassay.curvature.shards import Processes
from netassay.curvature.symmetric import Alike
from netassay.errors import ModelError

_T = TypeVar("_T")


class Summed(Alike):
    """The curvature of the loss over the batches of all processes, from that of each: products, gradient and loss.

    Can replace the curvature in `eigenpairs`, `Follower` and `Preconditioned`. Every process multiplies the same
    vectors in the same order; an error in one is raised in all. A mean is weighted by the number of terms of each
    process, equally if the loss does not give it and each has one batch.
    """

    def __init__(self, curvature: Curvature, processes: Processes) -> None:
        super().__init__(curvature)
        self.curvature, self.processes = curvature, processes
        everywhere = processes.gathered((curvature.names, curvature.size, curvature.is_mean))
        if any(facts != everywhere[0] for facts in everywhere):
            raise ModelError("the processes have different parameters or losses; train one model in all of them")
        total = processes.summed(curvature.terms)
        self._share = curvature.terms / total if curvature.is_mean else 1.0
        self.loss = processes.summed(curvature.loss * self._share)
        self.gradient: Float[Tensor, " P"] = self._sum(curvature.gradient, None)
        self.names, self.sizes = curvature.names, curvature.sizes

    @property
    def weights(self) -> Any:
        """The weights of the batches of this process."""
        return self.curvature.weights

    def trust(self) -> None:
        """As `Curvature.trust`."""
        self.curvature.trust()

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
        """One message: the numbers, followed by the number of processes that failed."""
        flat = torch.cat([image.reshape(-1) * self._share, image.new_tensor([float(failure is not None)])])
        self.processes.add_up(flat)
        if failure is None and float(flat[-1]) > 0:
            raise ModelError("another process could not multiply; its own message says why")
        return flat[:-1].reshape(image.shape)


def in_all(processes: Processes, make: Callable[[], _T]) -> _T:
    """The result of `make()`, once it succeeded in all processes; if it fails in one, ModelError in the others."""
    failure: Exception | None = None
    results: list[_T] = []
    try:
        results.append(make())
    except Exception as cause:
        failure = cause
    failures = processes.gathered(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    for rank, words in enumerate(failures):
        if words is not None:
            raise ModelError(f"process {rank} failed: {words}")
    return results[0]
