"""Slow truths: the dense Hessian and Gauss-Newton matrix from torch.func, independent of the engine."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev

from netassay.curvature.forward import Evaluation
from netassay.curvature.objective import Objective

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
}


def half_square(output: Tensor, target: Tensor) -> Tensor:
    """Half the squared error of each example, averaged."""
    return 0.5 * (output - target).square().sum(1).mean()


def network(activation: str = "tanh", bias: bool = True, sizes: tuple[int, ...] = (5, 6, 4, 3), seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b, bias=bias), ACTIVATIONS[activation]()]
        return nn.Sequential(*layers[:-1]).double()


def examples(n: int = 20, inputs: int = 5, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, class labels, and one-hot targets with a little noise."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, inputs, generator=g, dtype=torch.float64)
    label = torch.randint(0, classes, (n,), generator=g)
    target = nn.functional.one_hot(label, classes) + 0.1 * torch.randn(n, classes, generator=g, dtype=torch.float64)
    return x, label, target


def _flat_function(model: nn.Module, x: Tensor):
    named = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in named.values()]

    def output(flat: Tensor) -> Tensor:
        parts = {n: v.view_as(p) for (n, p), v in zip(named.items(), flat.split(sizes), strict=True)}
        return functional_call(model, parts, (x,))

    return output, torch.cat([p.reshape(-1) for p in named.values()])


def dense_hessian(model: nn.Module, loss, x: Tensor, y: Tensor) -> Tensor:
    output, flat = _flat_function(model, x)
    return hessian(lambda w: loss(output(w), y))(flat).detach()


def dense_ggn(model: nn.Module, loss, x: Tensor, y: Tensor) -> Tensor:
    output, flat = _flat_function(model, x)
    z = output(flat).detach()
    jacobian = jacrev(output)(flat).detach().reshape(z.numel(), -1)
    bend = hessian(lambda head: loss(head, y))(z).detach().reshape(z.numel(), z.numel())
    return jacobian.T @ bend @ jacobian


def rows(model: nn.Module, members) -> Tensor:
    """Positions of the named parameters in the flat vector."""
    place, positions = 0, {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            positions[name] = torch.arange(place, place + p.numel())
            place += p.numel()
    return torch.cat([positions[m] for m in members])


def top(matrix: Tensor, k: int = 1) -> Tensor:
    return torch.linalg.eigvalsh(matrix).flip(0)[:k]


def evaluate(model, loss, batches, **how) -> list[Evaluation]:
    """The evaluation of every batch, all graphs at once, with weights that sum to one for a mean."""
    objective = Objective(model, loss, batches, **how)
    done: list[Evaluation] = []
    objective.visit(lambda _, evaluation: done.append(evaluation))
    return [replace(one, weight=one.weight / objective.total) for one in done]
