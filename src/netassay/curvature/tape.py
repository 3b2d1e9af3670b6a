"""The gradient of one batch as a graph that is kept, and the products with the curvature read from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from netassay.curvature.forward import Batches, Evaluation, call


class HessianTape:
    """The gradient of one batch as a graph of the parameters."""

    def __init__(self, evaluation: Evaluation, parameters: dict[str, nn.Parameter]) -> None:
        self.weight = evaluation.weight
        self.parameters = parameters
        self.gradient = torch.autograd.grad(
            evaluation.loss, list(parameters.values()), create_graph=True, allow_unused=True
        )

    def roots(self) -> list[Tensor]:
        return [g for g in self.gradient if g is not None]

    def product(self, v: dict[str, Tensor]) -> Sequence[Tensor | None]:
        slopes = dict(zip(self.parameters, self.gradient, strict=True))
        live = {n: g for n in v if (g := slopes[n]) is not None and g.requires_grad}
        return _pull(list(live.values()), [self.parameters[n] for n in v], [v[n] for n in live])


class GaussNewtonTape:
    """One batch as output graph, its transposed Jacobian as a linear graph of `seed`, and the loss at the
    output.
    """

    def __init__(self, evaluation: Evaluation, parameters: dict[str, nn.Parameter]) -> None:
        self.weight = evaluation.weight
        self.parameters = parameters
        self.output, self.head = evaluation.output, evaluation.head
        weights = list(parameters.values())
        self.seed = torch.zeros_like(self.output, requires_grad=True)
        # J'seed, to be differentiated in seed: the double-backward form of J v
        self.pulled = torch.autograd.grad(
            self.output, weights, self.seed, create_graph=True, allow_unused=True
        )
        (self.slope,) = torch.autograd.grad(evaluation.loss, [self.head], create_graph=True)
        self.gradient = _pull([self.output], weights, [self.slope.detach()])

    def roots(self) -> list[Tensor]:
        return [self.slope, *(g for g in self.pulled if g is not None)]

    def product(self, v: dict[str, Tensor]) -> Sequence[Tensor | None]:
        pulled = dict(zip(self.parameters, self.pulled, strict=True))
        live = {n: g for n in v if (g := pulled[n]) is not None and g.requires_grad}
        (forward,) = _pull(list(live.values()), [self.seed], [v[n] for n in live])
        if forward is None or not self.slope.requires_grad:
            return [None] * len(v)
        (bent,) = _pull([self.slope], [self.head], [forward])
        if bent is None:
            return [None] * len(v)
        return _pull([self.output], [self.parameters[n] for n in v], [bent])


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], v: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    if not outputs:
        return [None] * len(inputs)
    return torch.autograd.grad(outputs, inputs, v, retain_graph=True, allow_unused=True)


def differentiable_once(roots: Sequence[Tensor]) -> bool:
    """Whether the graph has a function marked so: autograd would prune it from a product in silence,
    giving zeros.
    """
    todo, seen = [r.grad_fn for r in roots], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if node.name() == "torch::autograd::Error":
                return True
            todo += [following for following, _ in node.next_functions]
    return False


def not_twice_differentiable(model: nn.Module, batches: Batches) -> str | None:
    """The first module without children that fails to be differentiated twice by itself, if one does."""
    names = {module: name for name, module in model.named_modules() if not any(module.children())}
    found: list[str] = []

    def try_twice(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if found or not isinstance(output, Tensor) or output.grad_fn is None:
            return
        leaves = [t for t in (*inputs, *module.parameters()) if isinstance(t, Tensor) and t.requires_grad]
        try:
            slopes = torch.autograd.grad(output.square().sum(), leaves, create_graph=True, allow_unused=True)
            live = [s.square().sum() for s in slopes if s is not None and s.requires_grad]
            if differentiable_once(live):
                raise RuntimeError("differentiable once")
            torch.autograd.grad(live, leaves, retain_graph=True, allow_unused=True)
        except RuntimeError:
            found.append(f"module {names[module]!r} ({type(module).__name__})")

    hooks = [module.register_forward_hook(try_twice) for module in names]
    try:
        with torch.enable_grad():
            call(model, next(iter(batches))[0])
    except RuntimeError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
