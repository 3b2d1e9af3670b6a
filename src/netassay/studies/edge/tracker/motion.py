"""The step of a PyTorch optimiser, as far as its stability on a quadratic is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from netassay.curvature.shards import full
from netassay.curvature.thresholds import threshold

INNER = ("base_optimizer", "optimizer", "_optimizer", "inner_optimizer", "optim")
"""Attributes of wrappers for the wrapped optimiser: SAM's, Lightning's and Accelerate's, Lookahead's, ZeRO's."""

AT_REST = 1e30
"""Entry of P for a weight that the optimiser does not move; its inverse square root is still a float32."""


@dataclass(frozen=True)
class Motion:
    """The linear recursion of an optimiser: theta <- theta - eta P^-1 (momentum of the gradient).

    It is stable while (lambda(P^-1 H) + decay) eta <= `limit`.

    Attributes:
        step_size: Step size eta (above 0).
        limit: The threshold at step size 1.
        weight_decay: Curvature that weight decay adds.
        preconditioner: (P,) the diagonal of P in the order of the trainable parameters; None for the identity.
        ascent: Distance rho uphill at which the gradient is taken (SAM); 0 for none.
        remark: How the edge differs from that of the optimiser; "" if it does not.

    Source:
        Cohen et al. (2021), appendix B; Cohen et al. (2022), section 2.

    Example:
        >>> import netassay
        >>> netassay.Motion(step_size=0.1, limit=2.0).preconditioner is None
        True
    """

    step_size: float
    limit: float
    weight_decay: float = 0.0
    preconditioner: Tensor | None = None
    ascent: float = 0.0
    remark: str = ""

    def edge_ratio(self, value: float, gradient_norm: float = 0.0) -> float:
        """A curvature (of P^-1 H where there is a preconditioner) relative to the edge of stability, which is 1.

        `gradient_norm` (from 0) matters where there is an `ascent`.
        """
        if not self.ascent:
            return self.step_size * (value + self.weight_decay) / self.limit
        edge = self.edge(gradient_norm)
        return value / edge if edge > 0 else float("inf") if value > 0 else 0.0

    def edge(self, gradient_norm: float = 0.0) -> float:
        """The largest stable curvature."""
        plain = self.limit / self.step_size - self.weight_decay
        if not self.ascent or plain <= 0:
            return plain
        # SAM multiplies a curvature by 1 + rho lambda / ||g|| in any linear recursion; 2 / (2 / edge) is its edge
        return threshold("sam", 2 / plain, rho=self.ascent, gradient_norm=gradient_norm)


def innermost(optimizer: Any) -> Any:
    """The optimiser within wrappers, the first of a known method or that wraps nothing; None for no optimiser."""
    outer: list[Any] = []
    while not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam | torch.optim.RMSprop):
        outer.append(optimizer)
        candidates = [getattr(optimizer, name, None) for name in INNER]
        inner = [
            candidate for candidate in candidates if _may_step(candidate) and not any(candidate is old for old in outer)
        ]
        if not inner:
            break
        optimizer = inner[0]
    return optimizer if hasattr(optimizer, "param_groups") else None


def _may_step(candidate: Any) -> bool:
    return hasattr(candidate, "param_groups") or any(hasattr(candidate, name) for name in INNER)


def motion(optimizer: Any, parameters: Mapping[str, nn.Parameter]) -> Motion | str:
    """The motion of `optimizer` from its current settings and state, or the reason in words why it is unknown.

    SGD with any momentum, Adam, AdamW and RMSprop (Cohen et al. 2021, 2022), classes derived from them, wrappers around
    them, and sharpness-aware minimisation around them; learning rates and weight decay may differ between parameter
    groups. Parameters without a state in adaptive methods, or with learning rate 0, do not move.
    """
    inner = innermost(optimizer)
    if inner is None:
        return f"{type(optimizer).__name__} is not an optimiser that is known here; give motion="
    groups = {p: group for group in inner.param_groups for p in group["params"]}
    missing = [name for name, p in parameters.items() if p not in groups]
    if missing:
        return (
            f"the optimiser does not hold the trainable parameter {missing[0]!r}; give it to the optimiser "
            "(add_param_group), or freeze it with requires_grad_(False)"
        )
    own_groups = [groups[p] for p in parameters.values()]
    if isinstance(inner, torch.optim.SGD):
        moving = _sgd(own_groups, parameters)
    elif isinstance(inner, torch.optim.Adam | torch.optim.RMSprop):
        moving = _adaptive(inner, own_groups, parameters)
    else:
        return f"the edge of stability of {type(inner).__name__} is not known here; give motion="
    if isinstance(moving, str):
        return moving
    moving = replace(moving, remark=_remark(optimizer, inner))
    rho = _ascent(optimizer)
    if not rho:
        return moving
    if moving.preconditioner is not None or _adaptive_ascent(optimizer):
        below = f"the edge is that of {type(inner).__name__}; with the ascent of {type(optimizer).__name__} it is lower"
        return replace(moving, remark=below)
    return replace(moving, ascent=rho)


def _remark(optimizer: Any, inner: Any) -> str:
    """The known method whose edge is used, if the optimiser has another name."""
    method = next(kind for kind in type(inner).__mro__ if kind.__module__.startswith("torch.optim"))
    if type(inner) is method and optimizer is inner:
        return ""
    return f"the edge is that of {method.__name__}, which {type(optimizer).__name__} is taken to step as"


def _ascent(optimizer: Any) -> float:
    """rho of a wrapper for sharpness-aware minimisation, 0 for others."""
    groups = getattr(optimizer, "param_groups", None) or [{}]
    rho = getattr(optimizer, "rho", groups[0].get("rho", getattr(optimizer, "defaults", {}).get("rho", 0.0)))
    is_number = isinstance(rho, int | float) and innermost(optimizer) is not optimizer
    return float(rho) if is_number else 0.0


def _adaptive_ascent(optimizer: Any) -> bool:
    groups = getattr(optimizer, "param_groups", None) or [{}]
    return bool(getattr(optimizer, "adaptive", groups[0].get("adaptive", False)))


def _sgd(groups: list[dict[str, Any]], parameters: Mapping[str, nn.Parameter]) -> Motion | str:
    kinds = {(g["momentum"], g["nesterov"], g["dampening"], g["maximize"]) for g in groups}
    if len(kinds) > 1:
        return "the parameter groups differ in momentum, so the edge is not one number"
    momentum, nesterov, dampening, uphill = kinds.pop()
    if uphill:
        return "the optimiser maximises, which has no edge of stability"
    limit = threshold("nesterov" if nesterov else "polyak", 1.0, momentum=float(momentum))
    # dampening scales every gradient that enters the momentum but the first
    limit = limit / (1 - dampening) if momentum and dampening < 1 else limit
    decays = [float(g["weight_decay"]) for g in groups]
    return _scaled([float(g["lr"]) for g in groups], limit, decays, None, parameters)


def _adaptive(
    optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], parameters: Mapping[str, nn.Parameter]
) -> Motion | str:
    adam = not isinstance(optimizer, torch.optim.RMSprop)
    decoupled = [_is_decoupled(optimizer, g) for g in groups]
    coupled = any(g["weight_decay"] and not apart for g, apart in zip(groups, decoupled, strict=True))
    if coupled or any(g["maximize"] for g in groups):
        return (
            f"the edge of {type(optimizer).__name__} with maximize, or with weight decay in the gradient, is not known "
            "here; give motion="
        )
    if len({str([g.get(key) for key in ("betas", "alpha", "eps", "momentum")]) for g in groups}) > 1:
        return "the parameter groups differ in their averages, so the edge is not one number"
    states = [optimizer.state.get(p, {}) for p in parameters.values()]
    if not any(states):
        return "the optimiser has not taken a step yet"
    pieces = []
    for p, group, state in zip(parameters.values(), groups, states, strict=True):
        if not state:
            pieces.append(_flat(torch.full_like(p.detach(), AT_REST)))
        elif adam:
            pieces.append(_flat(_of_adam(state, group)))
        else:
            square = state["square_avg"]
            square = square - state["grad_avg"].square() if group["centered"] else square
            pieces.append(_flat(square.sqrt() + group["eps"]))
    first = groups[0]
    if adam:
        limit = threshold("adam", 1.0, momentum=float(first["betas"][0]))
    else:
        limit = threshold("polyak", 1.0, momentum=float(first["momentum"]))
    # decoupled decay shrinks the weights by 1 - eta d in every step, which leaves 2 - eta d of the stable range 2 to
    # the gradient's part
    decays = [limit * float(g["weight_decay"]) / 2 for g in groups]
    return _scaled([float(g["lr"]) for g in groups], limit, decays, torch.cat(pieces).detach(), parameters)


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))


def _flat(tensor: Tensor) -> Tensor:
    return full(tensor).reshape(-1)


def _of_adam(state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    b1, b2 = (float(b) for b in group["betas"])
    t = float(state["step"])
    square: Tensor = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return ((square / (1 - b2**t)).sqrt() + group["eps"]) * (1 - b1**t)


def _scaled(
    rates: list[float],
    limit: float,
    decays: list[float],
    preconditioner: Tensor | None,
    parameters: Mapping[str, nn.Parameter],
) -> Motion | str:
    """One step size and decay for all; if they differ, the largest rate, with the differences in P.

    At the edge eta_i ((H v)_i / P_i + d_i v_i) = limit v_i, which is the eigenproblem of a P that is multiplied by
    eta / eta_i (1 - eta_i d_i / limit), without decay.
    """
    rate = max(rates)
    if not rate > 0:
        return "the learning rate is zero"
    if len(set(rates)) == 1 and len(set(decays)) == 1:
        return Motion(rate, limit, decays[0], preconditioner)
    if any(lr * decay >= limit for lr, decay in zip(rates, decays, strict=True)):
        return "weight decay times the learning rate of a parameter group is unstable by itself"
    spread = torch.cat(
        [
            _flat(torch.full_like(p.detach(), rate / lr * (1 - lr * decay / limit) if lr > 0 else AT_REST))
            for p, lr, decay in zip(parameters.values(), rates, decays, strict=True)
        ]
    )
    if preconditioner is not None:
        spread = (spread * preconditioner).clamp(max=AT_REST)
    return Motion(rate, limit, 0.0, spread)
