"""The fully connected network, with the activations and initial weights that other networks share."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.nets.unset import unset


def _lecun(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()), generator=generator)


INITIALISATIONS: dict[str, Callable[..., object]] = {
    # PyTorch's default of linear and convolutional layers: with a = sqrt(5) this is U(-1/sqrt(fan_in), 1/sqrt(fan_in))
    "pytorch": partial(nn.init.kaiming_uniform_, a=math.sqrt(5)),
    "xavier": nn.init.xavier_normal_,
    "kaiming": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "lecun": _lecun,
    "orthogonal": nn.init.orthogonal_,
}
"""Each draws a layer's `weight` in place from `generator`."""


@torch.no_grad()
def initialise(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Fills every nn.Linear and nn.Conv2d of `model`, in order, by the named rule; other modules stay as they are.

    Biases: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) under "pytorch" (its default), else zero.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            INITIALISATIONS[name](layer.weight, generator=generator)
            if layer.bias is not None:
                bound = 1 / math.sqrt(layer.weight[0].numel()) if name == "pytorch" else 0.0
                layer.bias.uniform_(-bound, bound, generator=generator)


ACTIVATIONS: dict[str, type[nn.Module]] = {
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


# batch: by the statistics of the batch at hand, in training and testing alike, so that the loss has no hidden state
NORMALISATIONS: dict[str, Callable[..., nn.Module]] = {
    "batch": lambda width, dtype: nn.BatchNorm1d(width, track_running_stats=False, dtype=dtype),
    "layer": lambda width, dtype: nn.LayerNorm(width, dtype=dtype),
}


class MLP(nn.Sequential):
    """`depth` hidden layers of `width`, each followed by the activation, and a linear output.

    Layers are named layer1, layer2, ..., output. depth 0 is a linear map. Inputs of any shape are flattened from
    dimension 1 on. `normalisation` ("none", "batch", "layer"; named norm1, norm2, ...) lies between a hidden layer
    and its activation; with `residual` every hidden layer but the first adds its result to its input. Weights are
    drawn only from `generator`, by a rule of `nets.initialisation`.
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
        normalisation: str = "none",
        residual: bool = False,
        initialisation: str = "pytorch",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        hidden: list[list[str]] = []
        fan_in = inputs
        for i in range(1, depth + 1):
            group: dict[str, nn.Module] = {f"layer{i}": linear(fan_in, width, bias=bias, dtype=dtype)}
            if normalisation != "none":
                group[f"norm{i}"] = NORMALISATIONS[normalisation](width, dtype=dtype)
            group[f"{activation}{i}"] = ACTIVATIONS[activation]()
            layers |= group
            hidden.append(list(group))
            fan_in = width
        layers["output"] = linear(fan_in, outputs, bias=bias, dtype=dtype)
        super().__init__(layers)
        self.residual, self.hidden = residual, hidden
        initialise(self, initialisation, generator)

    def forward(self, input: Tensor) -> Float[Tensor, "n outputs"]:
        modules = dict(self.named_children())
        x = modules["flatten"](input)
        for i, group in enumerate(self.hidden):
            result = x
            for name in group:
                result = modules[name](result)
            x = x + result if self.residual and i else result
        return modules["output"](x)


def linear(fan_in: int, fan_out: int, *, bias: bool, dtype: torch.dtype) -> nn.Linear:
    """A linear layer whose weights are not drawn."""
    return unset(nn.Linear, fan_in, fan_out, bias=bias, dtype=dtype)
