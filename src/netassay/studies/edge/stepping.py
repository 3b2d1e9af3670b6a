"""Steps of each optimiser of the edge study, with its state as tensors and its own edge of stability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netassay.numerics.devices import generator
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.optimisers import OPTIMISERS, Method

Vector = Mapping[str, Tensor]
"""Parameter name -> tensor of its shape."""

GradientOf = Callable[[Tensor | None], Vector]
"""Gradient at the current weights, of the given training examples (None: of all)."""


class Start(NamedTuple):
    """The inputs of an optimiser; `own` are its own keys of the config, `examples` the number to train on."""

    parameters: Mapping[str, Tensor]
    step_size: float
    method: Method
    own: Mapping[str, float]
    examples: int
    seed: int


class Optimiser:
    """Gradient descent, theta <- theta - eta g; the base of the others.

    `every_step` says whether the full gradient is needed at every step. The state is that of the optimiser alone,
    without weights.
    """

    every_step = True

    def __init__(self, start: Start) -> None:
        self.parameters, self.step_size = start.parameters, start.step_size

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        """A curvature relative to this optimiser's threshold: 1 is the edge, eta lambda / 2 for descent."""
        return self.step_size * value / 2

    def preconditioner(self, gradient: Vector) -> Tensor | None:
        """Diagonal of P (P,) in the next step, theta <- theta - eta P^-1 m; None for the identity."""
        return None

    @torch.no_grad()
    def advance(self, gradient: Vector, again: GradientOf) -> None:
        """One step from the weights at which `gradient` is the full gradient."""
        for name, p in self.parameters.items():
            # torch refuses a factor that the dtype cannot hold; the largest that it can overflows as well
            p.sub_(gradient[name], alpha=min(self.step_size, torch.finfo(p.dtype).max))

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave."""


class TorchOptimiser(Optimiser):
    """A method of `torch.optim`, with these options; its state is that library's tensors, by parameter and key."""

    def __init__(self, start: Start, method: Callable[..., torch.optim.Optimizer], **options: Any) -> None:
        super().__init__(start)
        self.threshold = start.method.threshold(start.step_size, start.own, 1.0)
        # one tensor at a time, for the same bits with every version of torch
        parameters = list(start.parameters.values())
        self.method = method(parameters, lr=start.step_size, foreach=False, **options)

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        return value / self.threshold

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        for name, p in self.parameters.items():
            p.grad = gradient[name].to(p)
        self.method.step()
        self.method.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": tensor.detach().clone()
            for name, p in self.parameters.items()
            for key, tensor in self.method.state.get(p, {}).items()
            if isinstance(tensor, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.method.state.clear()
        for path, tensor in tensors.items():
            name, _, key = path.rpartition("/")
            p = self.parameters[name]
            self.method.state[p][key] = tensor.clone() if tensor.ndim == 0 else tensor.clone().to(p)


class HeavyBall(TorchOptimiser):
    """Polyak's heavy ball (1964) as `torch.optim.SGD` has it."""

    def __init__(self, start: Start) -> None:
        super().__init__(start, torch.optim.SGD, momentum=start.own["momentum"])


class Nesterov(TorchOptimiser):
    """Nesterov's momentum (1983) as `torch.optim.SGD` has it."""

    def __init__(self, start: Start) -> None:
        momentum = start.own["momentum"]
        super().__init__(start, torch.optim.SGD, momentum=momentum, nesterov=momentum > 0)


class Adam(TorchOptimiser):
    """Adam (Kingma and Ba 2015) as `torch.optim.Adam` has it."""

    def __init__(self, start: Start) -> None:
        self.momentum, self.beta2, self.epsilon = (start.own[key] for key in ("momentum", "beta2", "epsilon"))
        super().__init__(start, torch.optim.Adam, betas=(self.momentum, self.beta2), eps=self.epsilon)

    def preconditioner(self, gradient: Vector) -> Tensor:
        """(1 - b1^t) (sqrt(v_t / (1 - b2^t)) + epsilon) with the gradient of this step t = 1, 2, ... taken into v
        (Cohen et al. 2022, section 2).
        """
        pieces = []
        for name, p in self.parameters.items():
            moments = self.method.state.get(p, {})
            t = float(moments["step"]) + 1 if moments else 1.0
            v = (1 - self.beta2) * gradient[name].square()
            if moments:
                v = v + self.beta2 * moments["exp_avg_sq"]
            root = (v / (1 - self.beta2**t)).sqrt() + self.epsilon
            pieces.append(((1 - self.momentum**t) * root).reshape(-1))
        return torch.cat(pieces)


class RMSprop(TorchOptimiser):
    """RMSprop (Hinton 2012) as `torch.optim.RMSprop` has it, without momentum."""

    def __init__(self, start: Start) -> None:
        self.beta2, self.epsilon = start.own["beta2"], start.own["epsilon"]
        super().__init__(start, torch.optim.RMSprop, alpha=self.beta2, eps=self.epsilon)

    def preconditioner(self, gradient: Vector) -> Tensor:
        """sqrt(v_t) + epsilon with the gradient of this step taken into v."""
        pieces = []
        for name, p in self.parameters.items():
            moments = self.method.state.get(p, {})
            v = (1 - self.beta2) * gradient[name].square()
            if moments:
                v = v + self.beta2 * moments["square_avg"]
            pieces.append((v.sqrt() + self.epsilon).reshape(-1))
        return torch.cat(pieces)


class StochasticDescent(Optimiser):
    """Gradient descent on batches: every epoch a new order of the examples; its last batch may be smaller.

    The order of an epoch follows from seed and epoch, so the number of steps taken is the entire state.
    """

    every_step = False

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.batch_size = min(int(start.own["batch_size"]), start.examples)
        self.examples, self.seed, self.taken = start.examples, start.seed, 0

    def batch(self, step: int) -> Tensor:
        """Indices of the examples of batch `step`, counted from 0."""
        epoch, position = divmod(step, -(-self.examples // self.batch_size))
        order = torch.randperm(self.examples, generator=generator(self.seed, "batches", str(epoch)))
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        super().advance(again(self.batch(self.taken)), again)
        self.taken += 1

    def state(self) -> dict[str, Tensor]:
        return {"taken": torch.tensor(self.taken)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.taken = int(tensors["taken"])


class SharpnessAware(Optimiser):
    """Sharpness-aware minimisation (Foret et al. 2021) on all examples: the gradient is taken a distance rho uphill."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.rho, self.own, self.threshold = start.own["rho"], start.own, start.method.threshold

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        limit = self.threshold(self.step_size, self.own, gradient_norm)
        return value / limit if limit > 0 else float("inf") if value > 0 else 0.0

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        norm = sum(float(g.double().square().sum()) for g in gradient.values()) ** 0.5
        if norm == 0:
            return
        before = {name: p.detach().clone() for name, p in self.parameters.items()}
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.add_(gradient[name], alpha=self.rho / norm)
        uphill = again(None)
        with torch.no_grad():
            # restored, not subtracted: rounding would change the weights
            for name, p in self.parameters.items():
                p.copy_(before[name])
        super().advance(uphill, again)


def optimiser(config: EdgeConfig, parameters: Mapping[str, Tensor], examples: int) -> Optimiser:
    """The optimiser of a config at its start, for the given parameters and number of training examples."""
    method, own = OPTIMISERS[config.optimiser], config.optimiser_settings()
    steps: type[Optimiser] = globals()[method.steps]  # a class of this file, named where no torch is loaded
    return steps(Start(parameters, config.step_size, method, own, examples, config.seed))
