"""A cheap matrix in place of the full one: starting vectors, corrections, and whether they save products."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.eigen import UNRESOLVED, Eigenpairs, Product, Ritz, error_bounds
from netassay.curvature.krylov import krylov, largest_residual, least_squares, unsolved

BEGINNING, BEGUN = 20, 0.01  # maximum number of Lanczos steps on the cheap matrix; relative residual that ends them
INNER, SOLVED = 8, 0.05  # the same of each correction equation
NEAR = 0.05  # Ritz values of the cheap matrix within this of the k-th are starting vectors as well
CLOSE = 1e-3  # relative gap between Ritz values below which their coupling through the rest is neglected
CONTRACTION = 0.6  # of a residual in a plain Lanczos step, as measured on small networks (13 to 18 for 1e-3)
STALLED = 0.9  # contraction by one correction above which the next would gain nothing either
FASTEST, SLOWEST = 0.1, 0.9  # bounds on the predicted contraction of a residual
NEAREST = 0.2  # relative residual of B's leader; 0.14 at most was seen where it served, elsewhere 0.2 to 0.6
LARGEST_LOSS = 0.5  # of B's leading value, in A
DEVIATION = 0.25  # of an eigenvalue of A from that of B, in units of the residual that B's leader has in A
CORRECTIONS = 2  # expected number if B is useful
PROBE_LEAST = 3  # Krylov steps of the search; beside the leaders, which are in the subspace already


class Preconditioner:
    """A cheap matrix B in place of the full one, and whether it has been useful so far."""

    def __init__(self, cheap: Product, share: float, tolerance: float) -> None:
        self.useful, self.products, self.share, self._tolerance = True, 0, share, tolerance
        self._cheap, self._leading = cheap, -math.inf
        self._below = math.inf  # upper estimate of the eigenvalues of B below the leading ones
        self._deviation = 0.0  # plausible difference of such an eigenvalue of A from that of B
        self._steps: list[tuple[int, float, float]] = []  # pair, residual and cost of each correction

    def product(self, v: Tensor) -> Tensor:
        self.products += 1
        return self._cheap(v)

    def leaders(self, start: Tensor, k: int, search: bool) -> list[Tensor]:
        """Its k leading Ritz vectors, and those of values near the k-th: what is one eigenvalue here may be two.

        None if Lanczos's method on A is expected to be as quick as continuing with B.
        """
        basis, t = krylov(self.product, start, BEGINNING, lambda t: largest_residual(t, k) <= BEGUN)
        if len(basis) == 0:
            return []
        values, mix = torch.linalg.eigh(t[:-1])
        values, mix = values.flip(0), mix.flip(1)
        bar, self._leading = values[min(k, len(values)) - 1], float(values[0])
        if len(values) > k:
            self._below = float(values[k] + t[-1, -1] * mix[-1, k].abs())
        count = min(k + 2, max(min(k, len(values)), int((values >= bar - NEAR * bar.abs()).sum())))
        ratio = max(largest_residual(t, k), 1e-16) * UNRESOLVED / self._tolerance
        usual = len(basis) + max(math.log(ratio) / -math.log(contraction(values, k - 1)), 0) + 1
        cost = count + CORRECTIONS * (1 + self.share * INNER) + (PROBE_LEAST + 1 if search else 0)
        self.useful = cost < usual
        return [*(mix[:, :count].T.to(basis) @ basis)] if self.useful else []

    def represents(self, leader: Ritz) -> bool:
        """Whether the leading eigenvector of B is near one of A that is as large."""
        value, residual, expected = float(leader.values[0]), float(leader.norms[0]), self._leading
        self._deviation = DEVIATION * residual
        self.useful = residual <= NEAREST * abs(value) and value >= expected - LARGEST_LOSS * abs(expected)
        return self.useful

    def errors(self, ritz: Ritz, count: int) -> Tensor:
        """Estimated errors of the leading values: by their residuals and the gap to the next value that B has, if it is
        useful; else those of Lanczos's method.
        """
        if not self.useful:
            return torch.maximum(error_bounds(ritz.values, ritz.norms, count), UNRESOLVED * ritz.norms[:count])
        following = float(ritz.values[count]) if len(ritz.values) > count else -math.inf
        outside = max(self._below * self._scale(ritz) + self._deviation, following)
        return error_bounds(ritz.values, ritz.norms[:count], count, outside)

    def _scale(self, ritz: Ritz) -> float:
        return float(ritz.values[0]) / self._leading if self._leading > 0 else 1.0

    def correction(self, ritz: Ritz, i: int) -> Tensor:
        """The vector by which to expand the full subspace, for Ritz pair i: t, or the residual if B was not useful."""
        norm, r = float(ritz.norms[i]), ritz.residuals[i]
        self._watch(i, norm)
        if not self.useful:
            return r
        before = self.products
        basis, t = krylov(self._schur(ritz, i), r, INNER, lambda t: unsolved(t) <= SOLVED)
        self._steps[-1] = i, norm, 1 + self.share * (self.products - before)
        return -least_squares(t).to(basis) @ basis if len(basis) else r

    def _watch(self, i: int, norm: float) -> None:
        """Whether the last two corrections of a pair lowered its residual by more than Lanczos steps of their cost."""
        if self._steps and self._steps[-1][0] != i:
            self._steps = []
        last = self._steps[-2:]
        if last:
            latest = norm / last[-1][1]
            faster = norm <= last[0][1] * CONTRACTION ** sum(cost for _, _, cost in last)
            self.useful &= faster and latest < STALLED
        self._steps.append((i, norm, 1.0))

    def _schur(self, ritz: Ritz, i: int) -> Product:
        """B - theta on the complement of the Ritz vectors, less the effect of their coupling to it, known from A."""
        values, residuals = ritz.values[: len(ritz.vectors)] / ritz.unit, ritz.residuals
        theta = float(values[i])
        gaps = values - theta
        gaps[gaps.abs() < CLOSE * abs(theta)] = math.inf
        inverse = (1 / gaps).to(residuals)

        def product(v: Tensor) -> Tensor:
            image = self.product(v) / ritz.unit - theta * v - (inverse * (residuals @ v)) @ residuals
            return image - (ritz.vectors @ image) @ ritz.vectors

        return product

    def begin_again(self) -> None:
        """Forgets earlier steps after a search, whose products say nothing about B."""
        self._steps = []

    def accounted(self, pairs: Eigenpairs, searched: bool) -> Eigenpairs:
        return replace(pairs, sampled=self.products, share=self.share, searched=searched)


def contraction(values: Float[Tensor, " m"], i: int) -> float:
    """Of the residual of Ritz pair i in a step of Lanczos's method, by Chebyshev's polynomials on the values below."""
    if i + 2 >= len(values):
        return CONTRACTION
    gap = float((values[i] - values[i + 1]) / (values[i + 1] - values[-1]).clamp_min(1e-300))
    return min(max((math.sqrt(gap) + math.sqrt(1 + gap)) ** -2, FASTEST), SLOWEST)
