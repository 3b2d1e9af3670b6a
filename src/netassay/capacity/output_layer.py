"""Output layers that are computed, not trained: a linear solve, a ladder of steps, a convex fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

FLOAT64 = torch.finfo(torch.float64).eps
DENSE = 512
REFINED = 1e-10
STEEPNESS = 40.0
"""A sigmoid of +-40 is 1 or 0 to the last digit of float64 (exp(-40) = 4e-18)."""


@dataclass(frozen=True, eq=False)
class Solved:
    """`weight` (zeta, m) with hidden @ weight.T = logits, and how well that was posed.

    `rank` counts singular values of hidden (n, m) above max(n, m) x 2.2e-16 x the largest; None where the least is
    below and n is too large to count the others. `condition` is largest over least singular value, `residual` the
    largest |hidden @ weight.T - logits|.
    """

    weight: Float64[Tensor, "zeta m"]
    rank: int | None
    condition: float
    residual: float


def solve(hidden: Float64[Tensor, "n m"], logits: Float64[Tensor, "n zeta"]) -> Solved:
    """The least-norm output weights, m >= n: LU factors where m = n, else QR of hidden'.

    One step of iterative refinement follows where a residual is above 1e-10.
    """
    n, m = hidden.shape
    apply, back = _square(hidden) if n == m else _wide(hidden)
    weight = apply(logits)
    residuals = logits - hidden @ weight
    residual = _largest(residuals)
    if residual > REFINED:
        better = weight + apply(residuals)
        if (after := _largest(logits - hidden @ better)) < residual:
            weight, residual = better, after
    largest, smallest = _extreme_singular_values(hidden, apply, back)
    return Solved(
        weight.T.contiguous(), _rank(hidden, largest, smallest), largest / smallest if smallest else math.inf, residual
    )


def _largest(residuals: Tensor) -> float:
    return float(residuals.abs().max().nan_to_num(torch.inf))


def _square(hidden: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    factors, pivots, _ = torch.linalg.lu_factor_ex(hidden)
    return (
        lambda right: torch.linalg.lu_solve(factors, pivots, right),
        lambda right: torch.linalg.lu_solve(factors, pivots, right, adjoint=True),
    )


def _wide(hidden: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    n, m = hidden.shape
    packed, tau = torch.geqrf(hidden.T)
    upper = packed[:n].triu()

    def apply(right: Tensor) -> Tensor:
        half = torch.linalg.solve_triangular(upper.T, right, upper=False)
        return torch.ormqr(packed, tau, torch.cat([half, half.new_zeros(m - n, half.shape[1])]))

    def back(right: Tensor) -> Tensor:
        turned = torch.ormqr(packed, tau, right, transpose=True)[:n]
        return torch.linalg.solve_triangular(upper, turned, upper=True)

    return apply, back


def _extreme_singular_values(
    hidden: Tensor, apply: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]
) -> tuple[float, float]:
    """All of them where few; else the largest by Lanczos on H H', the least by Lanczos on its inverse."""
    n = hidden.shape[0]
    if n <= DENSE:
        values = torch.linalg.svdvals(hidden)
        return float(values[0]), float(values[-1])
    largest = _lanczos(lambda x: hidden @ (hidden.T @ x), n)
    inverse = _lanczos(lambda x: back(apply(x)), n)
    if not math.isfinite(inverse):
        return math.sqrt(largest), 0.0
    return math.sqrt(largest), 1 / math.sqrt(inverse)


def _lanczos(product: Callable[[Tensor], Tensor], n: int) -> float:
    """Largest eigenvalue to two digits of a symmetric matrix without negative ones; inf where it overflows."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    def multiply(x: np.ndarray) -> np.ndarray:
        result = product(torch.from_numpy(np.ascontiguousarray(x.reshape(n, 1))))
        if not bool(result.isfinite().all()):
            raise OverflowError
        return result.numpy().reshape(x.shape)

    start = np.cos(np.arange(n))  # fixed, so that results repeat, and generic
    try:
        operator = LinearOperator((n, n), matvec=multiply, dtype=np.float64)
        return float(eigsh(operator, k=1, ncv=8, which="LA", tol=1e-2, v0=start, return_eigenvectors=False)[0])
    except (ArpackError, OverflowError):
        return math.inf


def _rank(hidden: Tensor, largest: float, smallest: float) -> int | None:
    n, m = hidden.shape
    floor = max(n, m) * FLOAT64 * largest
    if smallest > floor:
        return n
    return int((torch.linalg.svdvals(hidden) > floor).sum()) if n <= 8 * DENSE else None


@dataclass(frozen=True, eq=False)
class Ladder:
    """A hidden layer of steps: neuron j is sigmoid(`weight[j]` . x + `bias[j]`), `output` (zeta, m) the output
    weights, `spacing` the least distance of two neighbours over the width of all."""

    weight: Float64[Tensor, "m d"]
    bias: Float64[Tensor, " m"]
    output: Float64[Tensor, "zeta m"]
    spacing: float


def ladder(
    features: Float64[Tensor, "n d"],
    logits: Float64[Tensor, "n zeta"],
    width: int,
    generator: torch.Generator,
    *,
    tries: int = 32,
) -> Ladder:
    """Logits by differences, without a solve, in O(n zeta): m >= n neurons.

    Features are projected on a line (of `tries` random ones that on which the nearest two are farthest apart) and
    sorted. Neuron j steps from 0 to 1 between the (j-1)th and the jth context, its output weights are the jth
    logits less the (j-1)th, so that the sum telescopes; neuron 1 is 1 everywhere. Neurons beyond n are idle.
    """
    n, d = features.shape
    lines = torch.randn(tries, d, generator=generator, dtype=torch.float64).float().double()
    spread = features @ lines.T  # (n, tries)
    spacings = spread.sort(0).values.diff(dim=0).amin(0) if n > 1 else torch.ones(tries).double()
    spacings = spacings / (spread.amax(0) - spread.amin(0)).clamp(min=torch.finfo(torch.float64).tiny)
    best = int(spacings.argmax())
    line, along = lines[best], spread[:, best]
    order: Int64[Tensor, " n"] = along.argsort()
    at = along[order]
    steep = torch.zeros(width, dtype=torch.float64)
    bias = torch.full((width,), -STEEPNESS, dtype=torch.float64)
    bias[0] = STEEPNESS
    steep[1:n] = 2 * STEEPNESS / at.diff()
    bias[1:n] = -steep[1:n] * (at[1:] + at[:-1]) / 2
    output = torch.zeros(logits.shape[1], width, dtype=torch.float64)
    output[:, 0] = logits[order[0]]
    output[:, 1:n] = logits[order].diff(dim=0).T
    return Ladder(steep[:, None] * line, bias, output, float(spacings[best]))


@dataclass(frozen=True, eq=False)
class Convex:
    """The output layer that a convex fit ends with, and a bound that holds for every other one.

    `weight` (zeta, m) has the weighted cross-entropy `loss`, in nats. No output layer on the same hidden layer whose
    `norm` is at most `times` that of this one has a loss below `lower`. The norm: the root of the summed squared
    logits, weighted as the contexts are.
    """

    weight: Float64[Tensor, "zeta m"]
    loss: float
    lower: float
    norm: float
    times: float
    steps: int


def fit(
    hidden: Float64[Tensor, "n m"],
    probabilities: Float64[Tensor, "n zeta"],
    weights: Float64[Tensor, " n"],
    *,
    precision: float = 1e-4,
    max_steps: int = 1_000,
    times: float = 2.0,
) -> Convex:
    """Convex softmax regression by L-BFGS on orthonormal hidden features, certified by its dual.

    For any q in the simplex ln sum exp z >= q.z + entropy(q); with q the softmax at hand, summed over the contexts,
    every output layer V has loss(V) >= sum w entropy(q) - |V| |G|, G = H' w (q - p) being the gradient there: the
    dual's value, less the violation of its constraint G = 0. Ends as soon as the loss and this bound, for |V| up
    to `times` the norm reached, or the entropy of the target, differ by no more than `precision` of the loss, or
    after `max_steps` steps.
    """
    from scipy.optimize import minimize

    root = weights.sqrt()[:, None]
    basis, upper = torch.linalg.qr(root * hidden)  # (n, r), (r, m)
    z_basis = basis / root
    shape = (basis.shape[1], probabilities.shape[1])
    floor = float(torch.special.entr(probabilities).sum(1) @ weights)
    best: dict[str, float] = {"lower": floor, "loss": math.inf, "norm": 0.0, "steps": 0}

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = torch.from_numpy(flat).reshape(shape)
        z = z_basis @ v
        log_q = z.log_softmax(1)
        q = log_q.exp()
        loss = float(-(probabilities * log_q).sum(1) @ weights)
        gradient = z_basis.T @ ((q - probabilities) * weights[:, None])
        norm = float(v.norm())
        lower = float(-(q * log_q).sum(1) @ weights) - times * norm * float(gradient.norm())
        if loss < best["loss"]:
            best.update(loss=loss, lower=max(lower, floor), norm=norm)
        return loss, gradient.numpy().reshape(-1)

    def enough(_: np.ndarray) -> None:
        best["steps"] += 1
        if best["loss"] - best["lower"] <= precision * best["loss"]:
            raise StopIteration

    optimum = minimize(
        value,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        callback=enough,
        options={"maxiter": max_steps, "maxfun": 2 * max_steps, "maxcor": 20, "ftol": 0.0, "gtol": 0.0},
    )
    v = torch.from_numpy(optimum.x).reshape(shape)
    # back from the orthonormal coordinates: least norm, where the hidden features do not determine the weights
    weight = torch.linalg.lstsq(upper, v, driver="gelsd").solution.T.contiguous()
    return Convex(weight, best["loss"], best["lower"], best["norm"], times, int(best["steps"]))
