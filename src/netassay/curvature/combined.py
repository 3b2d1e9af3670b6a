"""Matrices made of curvatures: preconditioned ones and differences, multiplied as a `Curvature` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.curvature import Curvature
from netassay.curvature.processes import Summed
from netassay.curvature.symmetric import Alike, Symmetric
from netassay.errors import ModelError


class Preconditioned(Alike):
    """P^-1/2 H P^-1/2 of a curvature H and a positive diagonal P, whole and per block.

    It is symmetric and has the eigenvalues of P^-1 H, which govern the stability of a method that steps along
    P^-1 times the gradient (Cohen et al. 2022, section 2); w = P^-1/2 v turns its eigenvector v into that of
    P^-1 H. Can replace the curvature in `lanczos`, `Follower`, `curvature_trace` and
    `curvature_density`.
    """

    def __init__(self, curvature: Curvature | Summed, diagonal: Float[Tensor, " P"]) -> None:
        """`diagonal` (P,) of P, positive and finite, in the order of the curvature's flat vectors; ModelError
        otherwise.
        """
        if diagonal.shape != (curvature.size,) or not bool((diagonal.isfinite() & (diagonal > 0)).all()):
            raise ModelError(
                f"the preconditioner has shape {tuple(diagonal.shape)} and smallest entry "
                f"{float(diagonal.min()):.3g}; it must be ({curvature.size},), positive and finite"
            )
        super().__init__(curvature)
        self.curvature = curvature
        self.scale = diagonal.to(curvature.gradient).rsqrt()
        pieces = dict(zip(curvature.names, self.scale.split([*curvature.sizes.values()]), strict=True))
        self._block_scales = {
            name: torch.cat([pieces[member] for member in members]) for name, members in curvature.blocks.items()
        }

    def trust(self) -> None:
        self.curvature.trust()

    def scale_of(self, part: str) -> Float[Tensor, " p"]:
        """The diagonal of P^-1/2, whole for "" or of a block."""
        return self._block_scales[part] if part else self.scale

    def product(self, v: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        return self.scale * self.curvature.product(self.scale * v)

    def block_product(self, name: str, v: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        scale = self._block_scales[name]
        return scale * self.curvature.block_product(name, scale * v)


class Difference(Alike):
    """A - B of two curvatures of one model at the same weights, such as H - G; whole and per block of A."""

    def __init__(self, a: Curvature, b: Curvature) -> None:
        if a.names != b.names or {**a.blocks} != {**b.blocks}:
            raise ModelError("the two curvatures are of different parameters or blocks; build both for the same ones")
        super().__init__(a)
        self.a, self.b = a, b

    def trust(self) -> None:
        self.a.trust()
        self.b.trust()

    def product(self, v: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        return self.a.product(v) - self.b.product(v)

    def block_product(self, name: str, v: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        return self.a.block_product(name, v) - self.b.block_product(name, v)


class Part:
    """One diagonal block of a curvature, or for "" the whole, as a matrix without blocks of its own."""

    def __init__(self, curvature: Symmetric, name: str) -> None:
        self.curvature, self.name = curvature, name
        self.blocks: Mapping[str, Sequence[str]] = {}
        self.size = curvature.block_size(name) if name else curvature.size
        self.dtype, self.device, self.loss = curvature.dtype, curvature.device, curvature.loss

    def block_size(self, name: str) -> int:
        raise ModelError(f"a part has no block {name!r}")

    def product(self, v: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        return self.curvature.block_product(self.name, v) if self.name else self.curvature.product(v)

    def block_product(self, name: str, v: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        raise ModelError(f"a part has no block {name!r}")
