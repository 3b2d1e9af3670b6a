"""The output layer alone: a convex problem, solved by Newton's method, with a proved floor under its loss.

With the features h of the n contexts fixed, a constant 1 among them, the logits are z_i = Theta h_i, and

    F(Theta) = sum over i of N_i [ lse(z_i) - <p_i, z_i> ],   N_i the count of context i, p_i its frequencies.

For any laws q' on the contexts, Gibbs' variational formula lse(z) >= <q', z> + H(q') gives, for every Theta,

    F(Theta) >= sum over i of N_i H(q'_i) + <Theta, R>,   R = sum over i of N_i (q'_i - p_i) h_i'.

Laws whose moments nearly match thus prove a floor under F at all weights up to a norm rho: their entropy minus rho
|R|. Newton steps D supply them: q'_g = q_g (1 + d_g - <q, d>) with d = D h are laws moved along the step, whose
moments match when D solves the Newton equation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.corpus.target import Targets

MOST_PRODUCTS = 200
FLATTEST = 1e-11
LEAST_DECREASE = 1e-4
SHORTEST = 1e-6
FIRST_DAMPING = 1e-3
LOOSE, TIGHT = 0.2, 1e-6
FLOOR_DAMPING = 1e-10
LARGEST = 1e3
"""Floors are proved for logits with a root mean square up to this, far beyond those of training."""

CORRECTIONS = 6


class Point(NamedTuple):
    """Loss in nats, the softmax (n, zeta), and the gradient (zeta, r) at some output weights."""

    loss: float
    softmax: Float64[Tensor, "n zeta"]
    gradient: Float64[Tensor, "zeta r"]


class Convex:
    """F for features (n, m) and targets, all in float64; weights (zeta, r) are those of an orthonormal basis.

    The basis spans the features and a constant, in the r dimensions that exceed rounding; it is orthonormal under the
    contexts' counts, so that the Hessian's mean over tokens is the identity.
    """

    def __init__(self, features: Tensor, to: Targets) -> None:
        self.to, self.totals = to, to.totals.double().unsqueeze(1)
        ones = torch.ones(len(features), 1, dtype=torch.float64)
        root = self.totals.sqrt()
        left, values, right = torch.linalg.svd(root * torch.cat([features.double(), ones], 1), full_matrices=False)
        informative = values > FLATTEST * values[0]
        self.features = left[:, informative] / root  # (n, r)
        self.back = right[informative] / values[informative, None]  # (r, m + 1)

    def layer(self, weights: Float64[Tensor, "zeta r"]) -> tuple[Tensor, Tensor]:
        """Weight (zeta, m) and bias (zeta,) of the output layer."""
        weights_of_layer = weights @ self.back
        return weights_of_layer[:, :-1], weights_of_layer[:, -1]

    def at(self, weights: Float64[Tensor, "zeta r"]) -> Point:
        to = self.to
        logits = self.features @ weights.T
        log_sum = logits.logsumexp(1, keepdim=True)
        counts = to.counts.double()
        observed = (counts * logits[to.contexts, to.tokens]).sum()
        loss = ((self.totals * log_sum).sum() - observed).item()
        softmax = logits.sub_(log_sum).exp_()
        return Point(loss, softmax, self.excess(softmax).T @ self.features)

    def product(self, point: Point, direction: Float64[Tensor, "zeta r"]) -> Float64[Tensor, "zeta r"]:
        """The Hessian at a point times a direction."""
        return (self.totals * self.softmax_change(point, direction)).T @ self.features

    def softmax_change(self, point: Point, direction: Float64[Tensor, "zeta r"]) -> Float64[Tensor, "n zeta"]:
        """How the softmax moves, to first order: q (d - <q, d>) with d = direction h."""
        d = self.features @ direction.T
        return point.softmax * (d - (point.softmax * d).sum(1, keepdim=True))

    def newton_step(self, point: Point, *, damping: float, tolerance: float) -> Float64[Tensor, "zeta r"]:
        """D with (Hessian + damping) D = - gradient to a relative residual, by preconditioned conjugate gradients.

        Preconditioner: each token's mean variance + damping.
        Uses at most MOST_PRODUCTS products.
        """
        variance = (self.totals * point.softmax * (1 - point.softmax)).sum(0) / self.totals.sum()  # (zeta,)
        scale = variance.unsqueeze(1) + damping

        step = torch.zeros_like(point.gradient)
        residual = -point.gradient
        ahead = residual / scale
        direction, size = ahead, (residual * ahead).sum()
        enough = tolerance * residual.norm()
        for _ in range(MOST_PRODUCTS):
            product = self.product(point, direction) + damping * direction
            along = size / (direction * product).sum()
            step = step + along * direction
            residual = residual - along * product
            if residual.norm() <= enough:
                break
            ahead = residual / scale
            before, size = size, (residual * ahead).sum()
            direction = ahead + (size / before) * direction
        return step

    def floor(self, laws: Float64[Tensor, "n zeta"], norm: float) -> tuple[float, Float64[Tensor, "zeta r"]]:
        """The floor in nats that laws prove, at all weights of Frobenius norm up to `norm`, and their mismatch R."""
        mismatch = self.excess(laws).T @ self.features
        return -(self.totals * torch.xlogy(laws, laws)).sum().item() - norm * mismatch.norm().item(), mismatch

    def excess(self, laws: Float64[Tensor, "n zeta"]) -> Float64[Tensor, "n zeta"]:
        """N (q - p)."""
        excess = (self.totals * laws).flatten()
        index = self.to.contexts * self.to.vocabulary + self.to.tokens
        return excess.index_add_(0, index, self.to.counts.double(), alpha=-1).view_as(laws)


class Newton:
    """Damped Newton steps down F, halved until the loss falls enough (Armijo), with adaptive damping."""

    def __init__(self, problem: Convex) -> None:
        self.problem = problem
        self.stalled = False
        self.go_to(torch.zeros(problem.to.vocabulary, problem.features.shape[1], dtype=torch.float64), FIRST_DAMPING)

    def go_to(self, weights: Float64[Tensor, "zeta r"], damping: float) -> None:
        """Continues from other weights."""
        self.weights, self.damping = weights, damping
        self.point = self.problem.at(weights)

    def advance(self) -> None:
        """One step; `stalled` when not even a short one lowers the loss."""
        step = self.problem.newton_step(self.point, damping=self.damping, tolerance=LOOSE)
        slope = (self.point.gradient * step).sum().item()
        length = 1.0
        while length > SHORTEST:
            trial = self.problem.at(self.weights + length * step)
            if trial.loss <= self.point.loss + LEAST_DECREASE * length * slope:
                self.weights, self.point = self.weights + length * step, trial
                self.damping = max(1e-9, self.damping / 4) if length == 1.0 else self.damping * 2
                return
            length /= 2
        self.stalled = True

    def floor(self) -> float:
        """A floor in nats under the loss of all weights whose logits have a root mean square up to LARGEST."""
        norm = LARGEST * self.problem.totals.sum().sqrt().item()
        problem, laws = self.problem, self.point.softmax
        best, mismatch = problem.floor(laws, norm)
        for _ in range(CORRECTIONS):
            at = Point(self.point.loss, laws, mismatch)
            step = problem.newton_step(at, damping=FLOOR_DAMPING, tolerance=TIGHT)
            # a law has no negative part; the next correction makes up for the clamping
            laws = (laws + problem.softmax_change(at, step)).clamp_(min=0)
            laws = laws / laws.sum(1, keepdim=True)
            bound, mismatch = problem.floor(laws, norm)
            best = max(best, bound)
        return best
