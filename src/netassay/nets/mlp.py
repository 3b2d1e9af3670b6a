"""The fully connected network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from netassay.nets.activations import ACTIVATIONS
from netassay.nets.initialisation import initialise


class MLP(nn.Sequential):
    """`depth` hidden layers of `width`, each followed by the activation, and a linear output.

    Layers are named layer1, layer2, ..., output. depth 0 is a linear map. Inputs of any shape are flattened from
    dimension 1 on. Weights are drawn from `generator` alone, by a rule of `nets.initialisation`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int = 2,
        width: int = 200,
        activation: str = "tanh",
        bias: bool = True,
        initialisation: str = "pytorch",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        fan_in = inputs
        for i in range(1, depth + 1):
            layers[f"layer{i}"] = _linear(fan_in, width, bias, dtype)
            layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
            fan_in = width
        layers["output"] = _linear(fan_in, outputs, bias, dtype)
        super().__init__(layers)
        initialise(self, initialisation, generator)


def _linear(fan_in: int, fan_out: int, bias: bool, dtype: torch.dtype) -> nn.Linear:
    # skip_init: the constructor's own initialisation would draw from the global generator
    return torch.nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias, dtype=dtype)
