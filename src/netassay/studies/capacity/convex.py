"""The output layer alone: a convex problem, solved by Newton's method, with a proved floor under its loss.

With the features h of the n contexts fixed and a constant 1 joined to them, the logits are z_i = Theta h_i, and

    F(Theta) = sum over i of N_i [ lse(z_i) - <p_i, z_i> ],   N_i the count of context i, p_i its frequencies.

For any laws q' on the contexts, Gibbs' variational formula lse(z) >= <q', z> + H(q') gives, for every Theta,

    F(Theta) >= sum over i of N_i H(q'_i) + <Theta, R>,   R = sum over i of N_i (q'_i - p_i) h_i'.

Laws whose moments match (R = 0) thus prove a floor under F at all weights at once. The Newton step D supplies them:
q'_g = q_g (1 + d_g - <q, d>) with d = D h is the softmax moved along the step, its moments match exactly when D
solves the Newton equation, and it is a law as soon as no factor is negative.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.studies.capacity.targets import Targets

MOST_PRODUCTS = 400
LEAST_DECREASE = 1e-4
DEEPEST_STEP = 1e-6


class Floor(NamedTuple):
    """No output weights of Frobenius norm up to `norm` have a loss below `nats`."""

    nats: float
    norm: float


class Point(NamedTuple):
    """Loss in nats, the softmax (n, zeta), and the gradient (zeta, r) at some output weights."""

    loss: float
    softmax: Float64[Tensor, "n zeta"]
    gradient: Float64[Tensor, "zeta r"]


class Convex:
    """F for features (n, m) and targets; weights are (zeta, m + 1), the bias last; all in float64."""

    def __init__(self, features: Tensor, to: Targets) -> None:
        ones = torch.ones(len(features), 1, dtype=torch.float64)
        self.features = torch.cat([features.double(), ones], dim=1)  # (n, r)
        self.to, self.totals = to, to.totals.double().unsqueeze(1)
        # A, of the features alone, is the part of the Hessian that all tokens share
        self.shared = self.features.T @ (self.totals * self.features)

    def at(self, weights: Float64[Tensor, "zeta r"]) -> Point:
        to = self.to
        logits = self.features @ weights.T
        log_sum = logits.logsumexp(1, keepdim=True)
        counts = to.counts.double()
        told = (counts * logits[to.contexts, to.tokens]).sum()
        loss = ((self.totals * log_sum).sum() - told).item()
        softmax = logits.sub_(log_sum).exp_()
        excess = (self.totals * softmax).flatten()
        excess.index_add_(0, to.contexts * to.vocabulary + to.tokens, counts, alpha=-1)
        return Point(loss, softmax, excess.view_as(softmax).T @ self.features)

    def product(self, point: Point, direction: Float64[Tensor, "zeta r"]) -> Float64[Tensor, "zeta r"]:
        """The Hessian at a point times a direction."""
        return (self.totals * self.moved(point, direction)).T @ self.features

    def moved(self, point: Point, direction: Float64[Tensor, "zeta r"]) -> Float64[Tensor, "n zeta"]:
        """How the softmax moves, to first order: q (d - <q, d>) with d = direction h."""
        d = self.features @ direction.T
        return point.softmax * (d - (point.softmax * d).sum(1, keepdim=True))

    def newton_step(self, point: Point, *, damping: float, tolerance: float) -> Float64[Tensor, "zeta r"]:
        """D with (Hessian + damping) D = - gradient to a relative residual, by preconditioned conjugate gradients.

        Preconditioner: (the tokens' mean variance) x A + damping, exact where all contexts agree about a token.
        At most MOST_PRODUCTS products are spent.
        """
        variance = (self.totals * point.softmax * (1 - point.softmax)).sum(0) / self.totals.sum()  # (zeta,)
        values, vectors = torch.linalg.eigh(self.shared)
        scale = torch.outer(variance, values.clamp(min=0)) + damping

        def precondition(x: Tensor) -> Tensor:
            return ((x @ vectors) / scale) @ vectors.T

        step = torch.zeros_like(point.gradient)
        residual = -point.gradient
        ahead = precondition(residual)
        direction, size = ahead, (residual * ahead).sum()
        enough = tolerance * residual.norm()
        for _ in range(MOST_PRODUCTS):
            product = self.product(point, direction) + damping * direction
            along = size / (direction * product).sum()
            step = step + along * direction
            residual = residual - along * product
            if residual.norm() <= enough:
                break
            ahead = precondition(residual)
            before, size = size, (residual * ahead).sum()
            direction = ahead + (size / before) * direction
        return step

    def floor(self, point: Point, step: Float64[Tensor, "zeta r"], *, slack: float) -> Floor | None:
        """The floor that the laws moved along `step` prove, or None where they are no laws.

        `slack` (nats) is what may be lost to moments that match only nearly: it sets the norm up to which the
        floor holds.
        """
        laws = point.softmax + self.moved(point, step)
        if laws.min() < 0:
            return None
        excess = (self.totals * laws).flatten()
        to = self.to
        excess.index_add_(0, to.contexts * to.vocabulary + to.tokens, to.counts.double(), alpha=-1)
        mismatch = (excess.view_as(laws).T @ self.features).norm().item()
        entropy = -(self.totals * torch.xlogy(laws, laws)).sum().item()
        return Floor(entropy - slack, slack / mismatch if mismatch else math.inf)


class Newton:
    """Damped Newton steps down F, each half as long until the loss falls enough (Armijo), damping adapted."""

    def __init__(self, problem: Convex) -> None:
        self.problem = problem
        self.weights = torch.zeros(problem.to.vocabulary, problem.features.shape[1], dtype=torch.float64)
        self.damping = 1e-3
        self.stalled = False
        self.point = problem.at(self.weights)

    def advance(self) -> None:
        """One step; `stalled` when not even a short one lowers the loss."""
        step = self.problem.newton_step(self.point, damping=self.damping, tolerance=0.1)
        slope = (self.point.gradient * step).sum().item()
        length = 1.0
        while length > DEEPEST_STEP:
            tried = self.problem.at(self.weights + length * step)
            if tried.loss <= self.point.loss + LEAST_DECREASE * length * slope:
                self.weights, self.point = self.weights + length * step, tried
                self.damping = max(1e-9, self.damping / 4) if length == 1.0 else self.damping * 2
                return
            length /= 2
        self.stalled = True

    def floor(self, *, slack: float) -> Floor | None:
        """A floor under the loss at all weights, from an undamped and nearly exact Newton equation."""
        step = self.problem.newton_step(self.point, damping=1e-12, tolerance=1e-10)
        return self.problem.floor(self.point, step, slack=slack)
