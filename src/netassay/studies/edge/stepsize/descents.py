"""Complete gradient descents of several networks of one shape at once, each at its own step size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from netassay.studies.edge.data import Examples
from netassay.studies.edge.networks import Loss
from netassay.studies.edge.stepsize.search import Outcome, Trial
from netassay.training import diverged

BATCHED_UP_TO = 40_000
"""Maximum size of one hidden layer's output for all examples at which networks share their operations: above it, one
network keeps a core busy (benchmarks/stepsize.py)."""

STOP_EVERY = 20


def descend(
    models: Sequence[nn.Module],
    loss: Loss,
    train: Examples,
    step_sizes: Sequence[float],
    *,
    goal: float,
    steps: int,
    divergence_factor: float,
    stop: Callable[[], bool] = lambda: False,
) -> list[Trial] | None:
    """Full-batch descent of each network from its weights, which are not changed; None if stopped by `stop`.

    A trial ends when the loss is at most `goal`, not finite or beyond `divergence_factor` times the first, or after
    `steps` steps. Networks of one trial share every operation (`torch.func.vmap`) and leave when they have ended.
    """
    networks = _Networks(models, loss, train)
    going = list(range(len(models)))
    first: list[float] = []
    trials: dict[int, Trial] = {}
    for step in range(steps + 1):
        if step % STOP_EVERY == 0 and stop():
            return None
        losses = networks.losses()
        values = losses.detach().tolist()
        first = first or values
        for slot, (i, value) in enumerate(zip(going, values, strict=True)):
            end = _end(value, first[i], goal, divergence_factor, step == steps)
            if end is not None:
                trials[i] = Trial(step_sizes[i], end, step, value)
                going[slot] = -1
        stay = [slot for slot, i in enumerate(going) if i >= 0]
        going = [i for i in going if i >= 0]
        if not going:
            break
        networks.step(losses, [step_sizes[i] for i in going], stay)
    return [trials[i] for i in range(len(models))]


def _end(value: float, first: float, goal: float, factor: float, last: bool) -> Outcome | None:
    if not math.isfinite(value) or diverged(value, first, factor):
        return Outcome.DIVERGED
    if value <= goal:
        return Outcome.TRAINED
    return Outcome.UNFINISHED if last else None


class _Networks:
    """Weights of several networks of one shape, stacked, and their losses; a single one is not stacked."""

    def __init__(self, models: Sequence[nn.Module], loss: Loss, train: Examples) -> None:
        self.model, self.train, self.loss = models[0], train, loss
        stacked, buffers = stack_module_state(list(models))
        assert not buffers, "the study's networks keep no buffers"
        self.weights = {name: p.detach().requires_grad_() for name, p in stacked.items()}

    def losses(self) -> Tensor:  # (B,)
        if len(next(iter(self.weights.values()))) == 1:
            return self._loss_of({name: p[0] for name, p in self.weights.items()})[None]
        return vmap(self._loss_of)(self.weights)

    def step(self, losses: Tensor, step_sizes: Sequence[float], stay: Sequence[int]) -> None:
        gradients = torch.autograd.grad(losses.sum(), list(self.weights.values()))
        everyone = len(stay) == len(losses)
        sizes = losses.new_tensor(step_sizes)
        with torch.no_grad():
            for (name, p), g in zip(list(self.weights.items()), gradients, strict=True):
                eta = sizes.view(-1, *[1] * (p.ndim - 1))
                if everyone:
                    p.addcmul_(g, eta, value=-1)
                else:
                    self.weights[name] = (p[list(stay)] - eta * g[list(stay)]).requires_grad_()

    def _loss_of(self, weights: dict[str, Tensor]) -> Tensor:
        return self.loss(functional_call(self.model, weights, (self.train.inputs,)), self.train.labels)


def together(train: Examples, width: int, networks: int) -> int:
    """Number of networks to descend at once: all if a layer's output is small, else one."""
    return networks if len(train.inputs) * width <= BATCHED_UP_TO else 1
