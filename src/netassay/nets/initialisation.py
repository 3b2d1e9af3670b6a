"""Initial weights of linear and convolutional layers, drawn from a given generator only."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def _pytorch(weight: Tensor, generator: torch.Generator) -> None:
    # PyTorch's default of linear and convolutional layers: with a = sqrt(5) this is U(-1/sqrt(fan_in), 1/sqrt(fan_in))
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)


def _xavier(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_normal_(weight, generator=generator)


def _kaiming(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def _lecun(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()), generator=generator)


def _orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.orthogonal_(weight, generator=generator)


INITIALISATIONS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "pytorch": _pytorch,
    "xavier": _xavier,
    "kaiming": _kaiming,
    "lecun": _lecun,
    "orthogonal": _orthogonal,
}


@torch.no_grad()
def initialise(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Fills every nn.Linear and nn.Conv2d of `model`, in order, by the named rule; other modules stay as they are.

    Biases: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) under "pytorch" (its default), else zero.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            INITIALISATIONS[name](layer.weight, generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel()) if name == "pytorch" else 0.0
                layer.bias.uniform_(-bound, bound, generator=generator)
