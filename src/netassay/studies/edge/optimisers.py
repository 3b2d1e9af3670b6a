"""The optimisers of the edge study, each with its whole state as tensors and its own edge of stability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from netassay.curvature.thresholds import threshold
from netassay.numerics.seeds import generator
from netassay.studies.edge.config import EdgeConfig

Vector = Mapping[str, Tensor]
"""Parameter name -> tensor of its shape."""

GradientOf = Callable[[Tensor | None], Vector]
"""Gradient at the weights as they are now, of the given training examples (None: of all)."""


class Optimiser:
    """Gradient descent, theta <- theta - eta g; the others change what they must.

    `every_step` says whether the full gradient is needed at every step. The state is that of the optimiser alone,
    without weights.
    """

    name = "gd"
    every_step = True

    def __init__(self, parameters: Mapping[str, Tensor], step_size: float) -> None:
        self.parameters, self.step_size = parameters, step_size

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        """A curvature relative to this optimiser's threshold: 1 is the edge, eta lambda / 2 for descent."""
        return self.step_size * value / 2

    def preconditioner(self, gradient: Vector) -> Tensor | None:
        """Diagonal of P (P,) in the next step, theta <- theta - eta P^-1 m; None where it is the identity."""
        return None

    @torch.no_grad()
    def advance(self, gradient: Vector, again: GradientOf) -> None:
        """One step from the weights at which `gradient` is the full gradient."""
        for name, p in self.parameters.items():
            # torch refuses a factor that the arithmetic cannot hold; the largest it can hold overflows as well
            p.sub_(gradient[name], alpha=min(self.step_size, torch.finfo(p.dtype).max))

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave."""


class TorchOptimiser(Optimiser):
    """A method of `torch.optim`; its state are that library's tensors, named by parameter and key."""

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Tensor],
        step_size: float,
        *,
        momentum: float,
        method: Callable[..., torch.optim.Optimizer],
        **options: Any,
    ) -> None:
        super().__init__(parameters, step_size)
        self.name, self.momentum = name, momentum
        self.threshold = threshold(name, step_size, momentum=momentum)
        # one tensor at a time: the same bits whatever this version of torch prefers
        self.method = method(list(parameters.values()), lr=step_size, foreach=False, **options)

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        return value / self.threshold

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        for name, p in self.parameters.items():
            p.grad = gradient[name].to(p)
        self.method.step()
        self.method.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": held.detach().clone()
            for name, p in self.parameters.items()
            for key, held in self.method.state.get(p, {}).items()
            if isinstance(held, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.method.state.clear()
        for place, held in tensors.items():
            name, _, key = place.rpartition("/")
            p = self.parameters[name]
            self.method.state[p][key] = held.clone() if held.ndim == 0 else held.clone().to(p)


class Adam(TorchOptimiser):
    """Adam (Kingma and Ba 2015) as `torch.optim.Adam` has it."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        step_size: float,
        *,
        momentum: float,
        beta2: float,
        epsilon: float,
    ) -> None:
        super().__init__(
            "adam", parameters, step_size, momentum=momentum, method=torch.optim.Adam,
            betas=(momentum, beta2), eps=epsilon,
        )  # fmt: skip
        self.beta2, self.epsilon = beta2, epsilon

    def preconditioner(self, gradient: Vector) -> Tensor:
        """(1 - b1^t) (sqrt(v_t / (1 - b2^t)) + epsilon) with the gradient of this step t = 1, 2, ... taken into v
        (Cohen et al. 2022, section 2).
        """
        pieces = []
        for name, p in self.parameters.items():
            held = self.method.state.get(p, {})
            t = float(held["step"]) + 1 if held else 1.0
            v = (1 - self.beta2) * gradient[name].square()
            if held:
                v = v + self.beta2 * held["exp_avg_sq"]
            root = (v / (1 - self.beta2**t)).sqrt() + self.epsilon
            pieces.append(((1 - self.momentum**t) * root).reshape(-1))
        return torch.cat(pieces)


class RMSprop(TorchOptimiser):
    """RMSprop (Hinton 2012) as `torch.optim.RMSprop` has it, without momentum."""

    def __init__(
        self, parameters: Mapping[str, Tensor], step_size: float, *, beta2: float, epsilon: float
    ) -> None:
        super().__init__(
            "rmsprop", parameters, step_size, momentum=0.0, method=torch.optim.RMSprop, alpha=beta2, eps=epsilon
        )  # fmt: skip
        self.beta2, self.epsilon = beta2, epsilon

    def preconditioner(self, gradient: Vector) -> Tensor:
        """sqrt(v_t) + epsilon with the gradient of this step taken into v."""
        pieces = []
        for name, p in self.parameters.items():
            held = self.method.state.get(p, {})
            v = (1 - self.beta2) * gradient[name].square()
            if held:
                v = v + self.beta2 * held["square_avg"]
            pieces.append((v.sqrt() + self.epsilon).reshape(-1))
        return torch.cat(pieces)


class StochasticDescent(Optimiser):
    """Gradient descent on batches: every epoch a new order of the examples, its last batch as small as it comes out.

    The order of an epoch follows from seed and epoch, so that the number of steps taken is the whole state.
    """

    name = "sgd"
    every_step = False

    def __init__(
        self, parameters: Mapping[str, Tensor], step_size: float, *, batch_size: int, examples: int, seed: int
    ) -> None:
        super().__init__(parameters, step_size)
        self.batch_size, self.examples, self.seed = min(batch_size, examples), examples, seed
        self.taken = 0

    def batch(self, step: int) -> Tensor:
        """Indices of the examples of batch `step`, counted from 0."""
        epoch, place = divmod(step, -(-self.examples // self.batch_size))
        order = torch.randperm(self.examples, generator=generator(self.seed, "batches", str(epoch)))
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        super().advance(again(self.batch(self.taken)), again)
        self.taken += 1

    def state(self) -> dict[str, Tensor]:
        return {"taken": torch.tensor(self.taken)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.taken = int(tensors["taken"])


class SharpnessAware(Optimiser):
    """Sharpness-aware minimisation (Foret et al. 2021) on all examples: the gradient is taken a distance rho uphill."""

    name = "sam"

    def __init__(self, parameters: Mapping[str, Tensor], step_size: float, *, rho: float) -> None:
        super().__init__(parameters, step_size)
        self.rho = rho

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        limit = threshold("sam", self.step_size, rho=self.rho, gradient_norm=gradient_norm)
        return value / limit if limit > 0 else float("inf") if value > 0 else 0.0

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        norm = sum(float(g.double().square().sum()) for g in gradient.values()) ** 0.5
        if norm == 0:
            return
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.add_(gradient[name], alpha=self.rho / norm)
        uphill = again(None)
        with torch.no_grad():
            # put back, not subtracted: rounding would move the weights
            for name, p in self.parameters.items():
                p.copy_(kept[name])
        super().advance(uphill, again)


def optimiser(config: EdgeConfig, parameters: Mapping[str, Tensor], examples: int) -> Optimiser:
    """The optimiser of a config at its start, for the given parameters and number of training examples."""
    size, method = config.step_size, config.optimiser
    own = config.optimiser_settings()
    if method in ("polyak", "nesterov"):
        made = _sgd(own["momentum"], nesterov=method == "nesterov")
        return TorchOptimiser(method, parameters, size, momentum=own["momentum"], method=made)
    if method == "adam":
        return Adam(parameters, size, **own)
    if method == "rmsprop":
        return RMSprop(parameters, size, **own)
    if method == "sgd":
        batch_size = int(own["batch_size"])
        return StochasticDescent(parameters, size, batch_size=batch_size, examples=examples, seed=config.seed)
    if method == "sam":
        return SharpnessAware(parameters, size, **own)
    return Optimiser(parameters, size)


def _sgd(momentum: float, nesterov: bool) -> Callable[..., torch.optim.Optimizer]:
    def method(parameters: list[Tensor], **options: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, momentum=momentum, nesterov=nesterov and momentum > 0, **options)

    return method
