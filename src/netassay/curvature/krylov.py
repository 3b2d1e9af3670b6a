"""A few steps of Lanczos's method from a given vector, and the small matrix that they give."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.eigen import Product


def krylov(
    product: Product, start: Float[Tensor, " n"], steps: int, enough: Callable[[Tensor], bool]
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m+1 m"]]:
    """Lanczos's basis from a vector and the tridiagonal matrix t that product(basis) is basis times, its last row
    what leads out of the basis; by three terms, as few steps keep it orthogonal. Fewer steps if t is `enough`.
    """
    norm, steps = float(torch.linalg.vector_norm(start)), min(steps, len(start))
    basis = start.new_empty(steps, len(start))
    diagonal: list[float] = []
    beside: list[float] = []
    t = torch.zeros(1, 0, dtype=torch.float64)
    image, m = start, 0
    while norm > 0 and math.isfinite(norm) and m < steps:
        v = torch.div(image, norm, out=basis[m])
        image = product(v)
        a = float(image @ v)
        image = torch.sub(image, v, alpha=a)  # not in place: it may be the vector itself
        if m:
            image.sub_(basis[m - 1], alpha=beside[-1])
        norm = float(torch.linalg.vector_norm(image))
        if not math.isfinite(a + norm):
            break
        m += 1
        diagonal.append(a)
        beside.append(norm)
        t = _tridiagonal(diagonal, beside)
        if norm <= 100 * torch.finfo(v.dtype).eps * float(t.abs().max()) or enough(t):
            break
    return basis[:m], t


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Float[Tensor, "m+1 m"]:
    m = len(diagonal)
    t = torch.zeros(m + 1, m, dtype=torch.float64)
    t[:m] = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for j, b in enumerate(beside):
        t[j + 1, j] = b
        if j + 1 < m:
            t[j, j + 1] = b
    return t


def largest_residual(t: Tensor, k: int) -> float:
    """The largest relative residual of the k leading Ritz pairs; infinite if there are fewer."""
    if t.shape[1] < k:
        return math.inf
    values, mix = torch.linalg.eigh(t[:-1])
    norms = t[-1, -1] * mix[-1, -k:].abs()
    return float((norms / values[-k:].abs().clamp_min(1e-300)).max())


def least_squares(t: Tensor) -> Float[Tensor, " m"]:
    """Coefficients c that minimise |t c - e_1|."""
    first = torch.zeros(len(t), 1, dtype=t.dtype)
    first[0] = 1
    return torch.linalg.lstsq(t, first).solution[:, 0]


def unsolved(t: Tensor) -> float:
    """The remaining share of the right-hand side."""
    residual = t @ least_squares(t)
    residual[0] -= 1
    return float(torch.linalg.vector_norm(residual))
