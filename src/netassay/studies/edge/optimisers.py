"""The optimisers of the edge study, one entry each, with all that its config, descent and pages need.

A new one is an entry of OPTIMISERS. No torch is loaded here: the class that takes the steps is given by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from netassay.curvature.thresholds import threshold

Threshold = Callable[[float, Mapping[str, float], float], float]
"""(step size, the optimiser's own keys, norm of the gradient) -> largest stable eigenvalue."""


@dataclass(frozen=True)
class Method:
    """An optimiser of the study; `steps` names its class in `stepping`.

    `usual` are its keys of the config with their defaults; `edge` is the threshold as labelled in figures, empty if it
    depends on the gradient.
    """

    steps: str
    threshold: Threshold
    edge: str
    usual: Mapping[str, float]
    preconditioned: bool = False
    """Whether the threshold is that of the preconditioned Hessian."""
    batches: bool = False
    """Whether a step takes a batch, not all examples."""
    is_flow: bool = True
    """Whether its limit for small steps is gradient flow, in time eta / (1 - momentum) a step."""
    has_central_flow: bool = False

    @property
    def is_descent(self) -> bool:
        """Whether its edge is that of plain descent, 2 / eta, for the Hessian itself."""
        return self.edge == "2/η" and not self.preconditioned

    def settings(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Its own keys with the values used: those of a config, or the defaults for None.

        >>> OPTIMISERS["adam"].settings({"momentum": 0.5, "beta2": None})
        {'momentum': 0.5, 'beta2': 0.999, 'epsilon': 1e-08}
        """
        own = {key: config.get(key) for key in self.usual}
        return {key: float(self.usual[key] if value is None else value) for key, value in own.items()}


def _theorem(name: str, step_size: float, own: Mapping[str, float], gradient_norm: float) -> float:
    keys = {key: own[key] for key in ("momentum", "rho") if key in own}
    return threshold(name, step_size, gradient_norm=gradient_norm, **keys)


OPTIMISERS: Mapping[str, Method] = {
    "gd": Method("Optimiser", partial(_theorem, "gd"), "2/η", {}, has_central_flow=True),
    "polyak": Method("HeavyBall", partial(_theorem, "polyak"), "2(1+β)/η", {"momentum": 0.9}),
    "nesterov": Method("Nesterov", partial(_theorem, "nesterov"), "2(1+β)/(η(1+2β))", {"momentum": 0.9}),
    "adam": Method(
        "Adam",
        partial(_theorem, "adam"),
        "2(1+β₁)/(η(1−β₁))",
        {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        preconditioned=True,
        is_flow=False,
    ),
    "rmsprop": Method(
        "RMSprop",
        partial(_theorem, "rmsprop"),
        "2/η",
        {"beta2": 0.99, "epsilon": 1e-8},
        preconditioned=True,
        is_flow=False,
    ),
    "sgd": Method("StochasticDescent", partial(_theorem, "sgd"), "2/η", {"batch_size": 32.0}, batches=True),
    "sam": Method("SharpnessAware", partial(_theorem, "sam"), "", {"rho": 0.05}, is_flow=False),
}

KEYS: tuple[str, ...] = tuple(dict.fromkeys(key for method in OPTIMISERS.values() for key in method.usual))
"""Keys of the config that belong to some optimiser."""


def owners(key: str) -> list[str]:
    """Optimisers that have a key."""
    return [name for name, method in OPTIMISERS.items() if key in method.usual]
