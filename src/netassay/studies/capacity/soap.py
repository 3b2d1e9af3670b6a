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
"""Longer sides of a matrix keep their own axes: a basis would cost more than it saves."""


class Soap:
    """Algorithm 3 of Vyas et al. (2024) on tensors with `.grad`; vectors are stepped by plain Adam.

    `sides` names, for each matrix, the sides that get a basis; a side with one axis per token should not, since
    the products of few gradients are uninformative about many axes. `factors` multiply each parameter's step size.
    First moments are in the original axes, and a basis begins with the eigenvectors of the first gradient's own
    products.
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
        self.bases = {key: torch.eye(len(product), dtype=product.dtype) for key, product in self.products.items()}

    @torch.no_grad()
    def step(self, step_size: float) -> None:
        """One step down the gradients that the parameters hold."""
        self.steps += 1
        fast, slow = BETAS
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self.parameters), "a parameter without a gradient was given to the optimiser"
        for (i, side), product in self.products.items():
            self._learn(product, self.bases[i, side], gradients[i], side)
        turned = [self._rotate(i, gradient) for i, gradient in enumerate(gradients)]
        # on entire lists, as torch.optim does: on small tensors a call costs more than its arithmetic
        torch._foreach_lerp_(self.first, gradients, 1 - fast)
        torch._foreach_mul_(self.second, slow)
        torch._foreach_addcmul_(self.second, turned, turned, value=1 - slow)
        means = [self._rotate(i, first) for i, first in enumerate(self.first)]
        spread = torch._foreach_sqrt(self.second)
        # Adam's corrections for the moments' start, moved out of the quotient
        root = (1 - slow**self.steps) ** 0.5
        torch._foreach_add_(spread, EPSILON * root)
        steps = [self._rotate(i, step, back=True) for i, step in enumerate(torch._foreach_div(means, spread))]
        scale = step_size * root / (1 - fast**self.steps)
        torch._foreach_mul_(steps, [scale * factor for factor in self.factors])
        torch._foreach_sub_(self.parameters, steps)

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, besides the parameters and the number of steps."""
        moments = {
            f"{name}/{i}": t
            for name, tensors in (("first", self.first), ("second", self.second))
            for i, t in enumerate(tensors)
        }
        sides = {
            f"{name}/{i}/{side}": t
            for name, tensors in (("products", self.products), ("bases", self.bases))
            for (i, side), t in tensors.items()
        }
        return moments | sides

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Restores what `state` gave."""
        self.steps = steps
        for name, into in self.state().items():
            into.copy_(tensors[name])

    def _learn(self, product: Tensor, basis: Tensor, gradient: Tensor, side: int) -> None:
        square = gradient @ gradient.T if side == 0 else gradient.T @ gradient
        product.lerp_(square, 1 - SHAMPOO_BETA)
        if self.steps == 1:
            basis.copy_(torch.linalg.eigh(product).eigenvectors)
        elif self.steps % REFRESH == 0:
            basis.copy_(torch.linalg.qr(product @ basis).Q)

    def _rotate(self, i: int, x: Tensor, *, back: bool = False) -> Tensor:
        if (left_basis := self.bases.get((i, 0))) is not None:
            x = (left_basis if back else left_basis.T) @ x
        if (right_basis := self.bases.get((i, 1))) is not None:
            x = x @ (right_basis.T if back else right_basis)
        return x
