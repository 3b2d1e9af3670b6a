"""What multiplies as a curvature does: the whole matrix at one set of weights, and its diagonal blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

_T = TypeVar("_T")


@runtime_checkable
class Trusting(Protocol):
    """A matrix that checks its symmetry at its first products, unless this was done before."""

    def trust(self) -> None: ...


@runtime_checkable
class Symmetric(Protocol):
    """A symmetric matrix at one set of weights, and its diagonal blocks, known only by their products."""

    @property
    def blocks(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def size(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def loss(self) -> float: ...

    def block_size(self, name: str) -> int: ...

    def product(self, v: Tensor) -> Tensor: ...

    def block_product(self, name: str, v: Tensor) -> Tensor: ...


def whole_and_blocks(curvature: Symmetric, of: Callable[..., _T], **options: Any) -> tuple[_T, dict[str, _T]]:
    """`of(product, size, dtype=, device=, **options)` of a curvature, and of each of its diagonal blocks by name."""
    of = partial(of, dtype=curvature.dtype, device=curvature.device, **options)
    full = of(curvature.product, curvature.size)
    blocks = {name: of(partial(curvature.block_product, name), curvature.block_size(name)) for name in curvature.blocks}
    return full, blocks


class Alike:
    """A matrix with the blocks, sizes and loss of another, whose symmetry is checked there."""

    def __init__(self, curvature: Symmetric) -> None:
        self.blocks, self.size, self.loss = curvature.blocks, curvature.size, curvature.loss
        self.dtype, self.device, self.block_size = curvature.dtype, curvature.device, curvature.block_size
