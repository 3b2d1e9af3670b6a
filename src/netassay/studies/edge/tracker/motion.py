"""What step a PyTorch optimiser is taking, as far as its stability on a quadratic is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.thresholds import threshold
from netassay.errors import ModelError


@dataclass(frozen=True)
class Motion:
    """theta <- theta - eta P^-1 (momentum of the gradient): stable while (lambda(P^-1 H) + decay) eta <= `limit`.

    `limit` is the threshold at step size 1; `preconditioner` (P,) is the diagonal of P in the order of the trainable
    parameters, None for the identity.
    """

    step_size: float
    limit: float
    weight_decay: float = 0.0
    preconditioner: Tensor | None = None

    def edge_ratio(self, value: float) -> float:
        """A curvature (of P^-1 H where there is a preconditioner) relative to the edge of stability, which is 1."""
        return self.step_size * (value + self.weight_decay) / self.limit


def motion(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> Motion | str:
    """The motion of `optimizer` from its settings and state as they are now, or in words why it is not known.

    SGD with any momentum, Adam, AdamW and RMSprop without momentum (Cohen et al. 2021, 2022); learning rates may differ
    between parameter groups. ModelError if a parameter is in none of its groups.
    """
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, p in parameters.items() if p not in groups]
    if missing:
        raise ModelError(
            f"the optimiser does not hold the trainable parameter {missing[0]!r}; give it model.parameters(), or "
            "freeze what it does not train with requires_grad_(False)"
        )
    method = type(optimizer)
    chosen = [groups[p] for p in parameters.values()]
    if method is torch.optim.SGD:
        return _sgd(chosen, parameters)
    if method in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        return _adaptive(optimizer, chosen, parameters)
    return f"the edge of stability of {method.__name__} is not known here; sharpness alone is kept"


def _sgd(groups: list[dict[str, Any]], parameters: Mapping[str, nn.Parameter]) -> Motion | str:
    kinds = {(g["momentum"], g["nesterov"], g["dampening"], g["weight_decay"], g["maximize"]) for g in groups}
    if len(kinds) > 1:
        return "the parameter groups differ in momentum or weight decay, so the edge is not one number"
    momentum, nesterov, dampening, decay, uphill = kinds.pop()
    if uphill:
        return "the optimiser maximises, which has no edge of stability"
    limit = threshold("nesterov" if nesterov else "polyak", 1.0, momentum=float(momentum))
    # dampening scales every gradient that enters the momentum but the first
    limit = limit / (1 - dampening) if momentum and dampening < 1 else limit
    return _scaled([float(g["lr"]) for g in groups], limit, float(decay), None, parameters)


def _adaptive(
    optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], parameters: Mapping[str, nn.Parameter]
) -> Motion | str:
    first = groups[0]
    adam = not isinstance(optimizer, torch.optim.RMSprop)
    coupled = type(optimizer) is not torch.optim.AdamW and any(g["weight_decay"] for g in groups)
    varied = any(g.get("amsgrad") or g.get("centered") or (not adam and g["momentum"]) for g in groups)
    if coupled or varied or any(g["maximize"] for g in groups):
        return (
            f"the edge of {type(optimizer).__name__} with amsgrad, centered, maximize, RMSprop's momentum or weight "
            "decay in the gradient is not known here"
        )
    if len({str([g.get(key) for key in ("betas", "alpha", "eps")]) for g in groups}) > 1:
        return "the parameter groups differ in their averages, so the edge is not one number"
    pieces = []
    for p in parameters.values():
        held = optimizer.state.get(p, {})
        if not held:
            return "the optimiser has not taken a step yet"
        t = float(held["step"])
        if adam:
            b1, b2 = first["betas"]
            root = (held["exp_avg_sq"] / (1 - b2**t)).sqrt() + first["eps"]
            pieces.append((1 - b1**t) * root.reshape(-1))
        else:
            pieces.append((held["square_avg"].sqrt() + first["eps"]).reshape(-1))
    limit = threshold("adam", 1.0, momentum=float(first["betas"][0])) if adam else 2.0
    return _scaled([float(g["lr"]) for g in groups], limit, 0.0, torch.cat(pieces).detach(), parameters)


def _scaled(
    rates: list[float],
    limit: float,
    decay: float,
    preconditioner: Tensor | None,
    parameters: Mapping[str, nn.Parameter],
) -> Motion | str:
    """One step size for all; where learning rates differ, the first, and the others' ratio to it within P."""
    if not rates[0] > 0 or min(rates) <= 0:
        return "a learning rate is zero"
    if len(set(rates)) == 1:
        return Motion(rates[0], limit, decay, preconditioner)
    if decay:
        return "learning rates differ between groups and there is weight decay, so the edge is not one number"
    spread = torch.cat([
        torch.full_like(p.detach(), rates[0] / rate).reshape(-1)
        for p, rate in zip(parameters.values(), rates, strict=True)
    ])  # fmt: skip
    return Motion(rates[0], limit, decay, spread if preconditioner is None else spread * preconditioner)
