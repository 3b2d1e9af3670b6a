"""SOAP: Adam in the eigenbasis of Shampoo's preconditioners (Vyas et al. 2024, arXiv 2409.11321)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

BETAS = (0.9, 0.99)
SHAMPOO_BETA = 0.95
EPSILON = 1e-8
REFRESH = 5
"""Steps between renewals of the bases, one orthogonal iteration each."""

WIDEST = 256
"""Sides of a matrix that are longer keep their own axes: there a basis would cost more than it saves."""


class Soap:
    """Algorithm 3 of Vyas et al. (2024) on tensors with `.grad`; vectors are stepped by plain Adam.

    `sides` names, for each matrix, the sides that get a basis; a side with an axis a token should not, since the
    products of few gradients say nothing of so many axes. `factors` multiply each parameter's step size. First
    moments live in the original axes, and a basis begins with the eigenvectors of the first gradient's own products.
    """

    def __init__(
        self, parameters: Sequence[Tensor], sides: Sequence[Sequence[int]], *, factors: Sequence[float]
    ) -> None:
        self.parameters, self.factors = list(parameters), list(factors)
        self.steps = 0
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.products = {
            (i, side): torch.zeros(size, size, dtype=p.dtype)
            for i, (p, turned) in enumerate(zip(self.parameters, sides, strict=True))
            for side in turned
            if 1 < (size := p.shape[side]) <= WIDEST
        }
        self.bases = {
            key: torch.eye(len(product), dtype=product.dtype) for key, product in self.products.items()
        }

    @torch.no_grad()
    def step(self, step_size: float) -> None:
        """One step down the gradients that the parameters hold."""
        self.steps += 1
        fast, slow = BETAS
        for i, p in enumerate(self.parameters):
            gradient = p.grad
            assert gradient is not None, "a parameter without a gradient was given to the optimiser"
            self._learn(i, gradient)
            turned = self._turned(i, gradient)
            self.first[i].lerp_(gradient, 1 - fast)
            self.second[i].mul_(slow).addcmul_(turned, turned, value=1 - slow)
            mean = self._turned(i, self.first[i]) / (1 - fast**self.steps)
            spread = (self.second[i] / (1 - slow**self.steps)).sqrt_().add_(EPSILON)
            p.sub_(self._back(i, mean.div_(spread)), alpha=step_size * self.factors[i])

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, besides the parameters and the number of steps."""
        moments = {
            f"{name}/{i}": t
            for name, held in (("first", self.first), ("second", self.second))
            for i, t in enumerate(held)
        }
        sides = {
            f"{name}/{i}/{side}": t
            for name, held in (("products", self.products), ("bases", self.bases))
            for (i, side), t in held.items()
        }
        return moments | sides

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Restores what `state` gave."""
        self.steps = steps
        for name, into in self.state().items():
            into.copy_(tensors[name])

    def _learn(self, i: int, gradient: Tensor) -> None:
        for side in (0, 1):
            product = self.products.get((i, side))
            if product is None:
                continue
            product.mul_(SHAMPOO_BETA).add_(_square(gradient, side), alpha=1 - SHAMPOO_BETA)
            if self.steps == 1:
                self.bases[i, side].copy_(torch.linalg.eigh(product).eigenvectors)
            elif self.steps % REFRESH == 0:
                self.bases[i, side].copy_(torch.linalg.qr(product @ self.bases[i, side]).Q)

    def _turned(self, i: int, x: Tensor) -> Tensor:
        if (left := self.bases.get((i, 0))) is not None:
            x = left.T @ x
        if (right := self.bases.get((i, 1))) is not None:
            x = x @ right
        return x

    def _back(self, i: int, x: Tensor) -> Tensor:
        if (left := self.bases.get((i, 0))) is not None:
            x = left @ x
        if (right := self.bases.get((i, 1))) is not None:
            x = x @ right.T
        return x


def _square(gradient: Tensor, side: int) -> Tensor:
    return gradient @ gradient.T if side == 0 else gradient.T @ gradient
